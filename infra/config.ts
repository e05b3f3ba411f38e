/** Configuration from the environment: parsed once, all problems reported together, frozen. */

import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { z } from 'zod'
import './plain-words.ts'
import { redactedFields } from './contracts/audit.ts'

/** Thrown by `readConfig`; its message lists every problem, each with the variable's name and the fix. */
export class ConfigurationError extends Error {
  override name = 'ConfigurationError'
}

export type Environment = Record<string, string | undefined>

/**
 * Parses the environment with a schema of variable names. `NAME_FILE` in place of `NAME` reads the value from a file
 * (without its last line break), for secrets. Empty values count as not set. `found` are problems that are known already.
 */
export function readConfig<Schema extends z.ZodType>(
  schema: Schema,
  environment: Environment,
  found: readonly string[] = [],
): Readonly<z.output<Schema>> {
  const problems = [...found]
  const result = schema.safeParse(withFiles(environment, problems))
  if (!result.success) problems.push(...result.error.issues.map(describe))
  if (!result.success || problems.length > 0) {
    throw new ConfigurationError(
      `The configuration cannot be used:\n${problems.map(problem => `  ${problem}`).join('\n')}`,
    )
  }
  return Object.freeze(result.data) as Readonly<z.output<Schema>>
}

function describe(issue: z.core.$ZodIssue): string {
  const name = issue.path.join('.') || 'configuration'
  const missing = issue.code === 'invalid_type' && issue.input === undefined
  return `${name}: ${missing ? `is required; set it, or put its value in a file and set ${name}_FILE` : issue.message}`
}

function withFiles(environment: Environment, problems: string[]): Environment {
  const values: Environment = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && value !== '') values[name] = value
  }
  for (const [name, path] of Object.entries(values)) {
    if (!name.startsWith('SALLYPORT_') || !name.endsWith('_FILE') || path === undefined) continue
    const target = name.slice(0, -'_FILE'.length)
    if (values[target] !== undefined)
      problems.push(`${name}: ${target} is set too; keep one of them`)
    try {
      values[target] = readFileSync(path, 'utf8').replace(/\r?\n$/, '')
    } catch (error) {
      problems.push(`${name}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
  }
  return values
}

/** A TCP port, 0 for a free one. */
export const Port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number from 0 to 65535')
  .transform(Number)
  .refine(port => port <= 65_535, { error: 'must be a port number from 0 to 65535' })

/** Where a service shows its metrics and readiness; nowhere without a port. */
export function monitoringPlace(
  host: string,
  port: number | undefined,
): { host: string; port: number } | undefined {
  return port === undefined ? undefined : { host, port }
}

/** `true` or `false`. */
export const Flag = z
  .enum(['true', 'false'], { error: 'must be true or false' })
  .transform(value => value === 'true')

/** A whole number within limits, both included. */
export const WholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `must be a whole number from ${least} to ${most}`)
    .transform(Number)
    .refine(value => value >= least && value <= most, {
      error: `must be a whole number from ${least} to ${most}`,
    })

/** MiB that the windows of a process's streams may take; from one on there is room for a download. */
export const StreamMemory = WholeNumber(1, 65_536).default(256)

const mostWorkers = 256

/** How many processes share a service's work; `auto`: one for each core that this process may use. */
export const WorkerCount = z
  .string()
  .regex(/^(auto|\d{1,3})$/, `must be a whole number from 1 to ${mostWorkers}, or auto`)
  .transform(value => (value === 'auto' ? availableParallelism() : Number(value)))
  .refine(value => value >= 1 && value <= mostWorkers, {
    error: `must be a whole number from 1 to ${mostWorkers}, or auto`,
  })

/** Values separated by commas; spaces around them are dropped. */
export const List = z.string().transform(value =>
  value
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== ''),
)

/** Fields that audit events must not say. */
export const Redaction = List.pipe(
  z.array(
    z.enum(redactedFields, { error: `must be some of ${redactedFields.join(', ')}, with commas` }),
  ),
).default([])

/**
 * `tls://SEED@host:4222` for a service, with the seed of its role's key; `nats://` without TLS on one machine; `wss://`
 * for a connector. Several separated by commas.
 */
export const BusUrl = z
  .string({ error: 'is required, as in tls://SEED@bus.example.com:4222' })
  .refine(value => busUrlPattern.test(value) && hasOneKind(value), {
    error: 'must be tls://SEED@host:port, or several of them separated by commas',
  })

const busUrlPattern = /^\s*(nats|tls|wss):\/\/\S/

function hasOneKind(value: string): boolean {
  const kinds = value.split(',').map(url => URL.parse(url.trim())?.protocol)
  return kinds.every(kind => kind === kinds[0] && /^(nats|tls|wss):$/.test(kind ?? ''))
}
