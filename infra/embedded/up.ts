/**
 * `sallyport up`: starts a whole system, says how to use it, and stops it in order at the first signal (exit code 0);
 * a second one ends everything at once. Standard output carries the announcement alone, logs go to standard error.
 */

import { ConfigurationError, type Environment } from '../config.ts'
import { exitConfiguration } from '../lifecycle.ts'
import { createLogger } from '../log.ts'
import { unknownNames } from '../variable-names.ts'
import { announcementJson, announcementText } from './announcement.ts'
import { portProblem } from './ports.ts'
import { type System, type SystemOptions, startSystem } from './system.ts'
import { type RawUpOptions, readUpOptions, type UpOptions } from './up-options.ts'

/** A Ctrl-C in a terminal reaches us twice, from the terminal and from npm: signals so close together are one. */
const sameSignalMs = 500
/** Exit status of a process that ended at SIGINT. */
const exitInterrupted = 130

/** Runs until a signal comes, and leaves the process. */
export async function up(raw: RawUpOptions, environment: Environment): Promise<never> {
  const stopping = new AbortController()
  let system: System | undefined
  onSignals(stopping, () => system?.killNow())
  // Whoever read the announcement may have gone.
  process.stdout.on('error', () => undefined)
  try {
    const options = readUpOptions(raw)
    const log = createLogger('up', options.logLevel)
    system = await start(options, { environment, log, signal: stopping.signal })
    process.stdout.write(
      options.isJson ? `${announcementJson(system)}\n` : announcementText(system),
    )
    await aborted(stopping.signal)
    log.info('stopping')
    await system[Symbol.asyncDispose]()
  } catch (error) {
    // A start that a signal broke off has ended what it had begun.
    const isBrokenOff = stopping.signal.aborted && !system
    if (!isBrokenOff) fail(error)
  }
  process.exit(0)
}

async function start(
  { connectors: connector, gateways: gateway, workers, isJson: _, ...options }: UpOptions,
  surroundings: Pick<SystemOptions, 'environment' | 'log' | 'signal'>,
): Promise<System> {
  await checkPort(options.port)
  const environment = { ...knownOf(surroundings), ...workersOf(workers) }
  return startSystem({ ...options, ...surroundings, environment, counts: { connector, gateway } })
}

/** Variables of services that are given what the options say. */
const decidedHere: Readonly<Record<string, string>> = {
  SALLYPORT_GATEWAY_PORT: '--port',
  SALLYPORT_GATEWAY_IDENTITY_PROVIDER: '--identity-provider',
  SALLYPORT_GATEWAY_CLIENT_ID: '--client-id',
  SALLYPORT_GATEWAY_CLIENT_SECRET: '--client-secret-file',
  SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: '--client-secret-file',
  SALLYPORT_LOG_LEVEL: '--log-level',
}

/** What is misspelt is said once, and not by every service. */
function knownOf({ environment, log }: Pick<SystemOptions, 'environment' | 'log'>): Environment {
  const { refused, doubtful } = unknownNames(environment)
  if (refused.length > 0)
    throw new ConfigurationError(`sallyport up cannot start:\n  ${refused.join('\n  ')}`)
  for (const { name, says } of doubtful) log.warn({ variable: name }, `${name}: ${says}`)
  for (const [name, option] of Object.entries(decidedHere)) {
    if (environment[name]) log.warn({ variable: name }, `${name}: is not used here; give ${option}`)
  }
  const unknown = new Set(doubtful.map(({ name }) => name))
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !unknown.has(name)))
}

function workersOf(workers: number | undefined): Environment {
  if (workers === undefined) return {}
  return {
    SALLYPORT_GATEWAY_WORKERS: String(workers),
    SALLYPORT_CONNECTOR_WORKERS: String(workers),
  }
}

async function checkPort(port: number): Promise<void> {
  const problem = port === 0 ? undefined : await portProblem(port)
  if (problem === undefined) return
  const reason =
    problem === 'EADDRINUSE'
      ? 'is in use by another program, or by a system that runs already; stop it, or'
      : `cannot be opened (${problem});`
  throw new ConfigurationError(`--port: ${port} ${reason} choose another one with --port N`)
}

function onSignals(stopping: AbortController, killNow: () => void): void {
  let firstMs = 0
  const onSignal = () => {
    if (!stopping.signal.aborted) {
      firstMs = Date.now()
      stopping.abort(new Error('stopping'))
    } else if (Date.now() - firstMs > sameSignalMs) {
      killNow()
      process.exit(exitInterrupted)
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
}

function fail(error: unknown): never {
  const lines: string[] = []
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    lines.push(cause.message)
  }
  process.stderr.write(`${lines.join('\n  because: ') || String(error)}\n`)
  process.exit(error instanceof ConfigurationError ? exitConfiguration : 1)
}
