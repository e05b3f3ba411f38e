/** The options of `sallyport up`, checked before anything starts. All problems are reported together. */

import { z } from 'zod'
import { ConfigurationError, Port, WholeNumber, WorkerCount } from '../config.ts'
import { type LogLevel, logLevels } from '../log.ts'
import type { ExternalIdentityProvider } from './parts.ts'
import { type Publication, parsePublications } from './publications.ts'

/** As the command line gives them. */
export interface RawUpOptions {
  port: string
  data: string
  publish: string[]
  json?: boolean
  identityProvider?: string
  clientId?: string
  clientSecretFile?: string
  connectors: string
  gateways: string
  workers?: string
  plainBus?: boolean
  logLevel: string
}

export interface UpOptions {
  port: number
  dataDirectory: string
  publish: readonly Publication[]
  isJson: boolean
  identityProvider?: ExternalIdentityProvider
  connectors: number
  gateways: number
  /** Processes of each gateway and connector. */
  workers: number | undefined
  isBusPlain: boolean
  logLevel: LogLevel
}

const mostOfAKind = 64

const Numbers = z.object({
  port: Port,
  data: z.string().min(1, 'must name a folder, as in .sallyport'),
  connectors: WholeNumber(0, mostOfAKind),
  gateways: WholeNumber(1, mostOfAKind),
  workers: WorkerCount.optional(),
  logLevel: z.enum(logLevels, { error: `must be one of ${logLevels.join(', ')}` }),
})

export function readUpOptions(raw: RawUpOptions): UpOptions {
  const problems: string[] = []
  const numbers = Numbers.safeParse(raw)
  for (const issue of numbers.error?.issues ?? []) {
    problems.push(`${optionOf(issue.path.join('.'))}: ${issue.message}`)
  }
  problems.push(...identityProviderProblems(raw))
  let publish: Publication[] = []
  try {
    publish = parsePublications(raw.publish)
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    problems.push(error.message)
  }
  if (!numbers.success || problems.length > 0) {
    throw new ConfigurationError(
      `sallyport up cannot start:\n${problems.map(problem => `  ${problem}`).join('\n')}`,
    )
  }
  const { identityProvider: issuer, clientId, clientSecretFile } = raw
  const { data: dataDirectory, ...parsed } = numbers.data
  return {
    ...parsed,
    workers: parsed.workers,
    dataDirectory,
    publish,
    isJson: raw.json ?? false,
    isBusPlain: raw.plainBus ?? false,
    ...(issuer !== undefined &&
      clientId !== undefined && {
        identityProvider: { issuer, clientId, ...(clientSecretFile && { clientSecretFile }) },
      }),
  }
}

function optionOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

function identityProviderProblems(raw: RawUpOptions): string[] {
  const { identityProvider: issuer, clientId, clientSecretFile } = raw
  const problems: string[] = []
  if (issuer === undefined) {
    const given = [clientId && '--client-id', clientSecretFile && '--client-secret-file']
    for (const option of given.filter(Boolean)) {
      problems.push(`${option}: is for a provider of your own; add --identity-provider URL`)
    }
    return problems
  }
  if (!clientId) {
    problems.push('--client-id: is required with --identity-provider; the provider gave it to you')
  }
  const url = URL.parse(issuer)
  const isLoopback = url !== null && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback)) {
    problems.push(
      '--identity-provider: must be an https:// URL, the issuer as the provider spells it (http:// only on this machine)',
    )
  }
  return problems
}
