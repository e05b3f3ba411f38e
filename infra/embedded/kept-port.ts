/** Ports that others remember, kept in the data folder: the one of the last run, if it is free. */

import { ConfigurationError, type Environment, Port } from '../config.ts'
import type { Logger } from '../log.ts'
import type { DataFolder } from './data-folder.ts'
import { freePort, portProblem } from './ports.ts'

export interface KeptPortOptions {
  folder: DataFolder
  log: Logger
}

/** `advice` is what another one than before means; `usual` is taken the first time, if it is free. */
export async function keptPort(
  { folder, log }: KeptPortOptions,
  name: string,
  advice: string,
  usual?: number,
): Promise<number> {
  const kept = Number(await folder.recall(name))
  if (kept > 0 && (await portProblem(kept)) === undefined) return kept
  if (kept > 0) log.warn(`port ${kept} (${name}) is taken; another one is used, ${advice}`)
  const isUsualFree = usual !== undefined && (await portProblem(usual)) === undefined
  const port = isUsualFree ? usual : await freePort()
  await folder.remember(name, String(port))
  return port
}

const usualPorts = { gateway: 8080, admin: 8081 } as const

/**
 * Where the first registry listens: where it was told to, else, beside a gateway at the usual port, where the command line
 * looks first.
 */
export async function adminPort(
  options: KeptPortOptions & { environment: Environment; gatewayPort: number },
): Promise<number> {
  const asked = Port.optional().safeParse(options.environment[variable] || undefined)
  if (!asked.success) throw new ConfigurationError(`${variable}: ${asked.error.issues[0]?.message}`)
  if (asked.data) return await freeOrRefused(asked.data)
  const usual = options.gatewayPort === usualPorts.gateway ? usualPorts.admin : undefined
  return await keptPort(options, 'admin-port', 'set SALLYPORT_ADMIN_URL anew', usual)
}

const variable = 'SALLYPORT_REGISTRY_PORT'

async function freeOrRefused(port: number): Promise<number> {
  const problem = await portProblem(port)
  if (problem === undefined) return port
  const reason =
    problem === 'EADDRINUSE' ? 'is in use by another program' : `cannot be opened (${problem})`
  throw new ConfigurationError(
    `${variable}: ${port} ${reason}; choose another one, or leave it out`,
  )
}
