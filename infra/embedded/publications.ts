/**
 * What `--publish NAME=URL[,passthrough]` asks for, and the names below which a system on one machine publishes:
 * `http://NAME.sallyport.localhost:PORT/`, or https when the gateway has a certificate.
 */

import { ConfigurationError, type Environment } from '../config.ts'
import { OnPremisesPublishing, Slug } from '../contracts/application.ts'

export interface Publication {
  name: string
  displayName: string
  internalUrl: string
  access: 'signed-in' | 'passthrough' | { group: string }
}

/** The parent domain of every host of a system that `sallyport up` starts. */
export const localDomain = 'sallyport.localhost'
export const portalName = 'portal'

/** The names under which the sample applications are published. */
const sampleNames = ['handbook', 'inventory'] as const
export type SampleName = (typeof sampleNames)[number]

/** Where clients reach a system on one machine. */
export interface Place {
  readonly port: number
  readonly scheme: 'http' | 'https'
}

/** The gateway speaks TLS as soon as it is given a certificate. */
export function placeOf(port: number, environment: Environment): Place {
  const isSecure = Boolean(environment.SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH)
  return { port, scheme: isSecure ? 'https' : 'http' }
}

/** `http://NAME.sallyport.localhost:PORT/` */
export function localUrl(name: string, { port, scheme }: Place): string {
  return new URL(`${scheme}://${name}.${localDomain}:${port}/`).href
}

/** Reads the values of `--publish`. All problems are reported together, each with the fix. */
export function parsePublications(values: readonly string[]): Publication[] {
  const problems: string[] = []
  const names = new Set<string>()
  const publications: Publication[] = []
  for (const value of values) {
    const found = parsePublication(value)
    const issues = typeof found === 'string' ? [found] : problemsOf(found, names)
    problems.push(...issues.map(issue => `--publish ${value}: ${issue}`))
    if (typeof found === 'string') continue
    names.add(found.name)
    publications.push(found)
  }
  if (problems.length === 0) return publications
  throw new ConfigurationError(
    `Nothing was published:\n${problems.map(problem => `  ${problem}`).join('\n')}`,
  )
}

function parsePublication(value: string): Publication | string {
  const parts = /^([^=]*)=([^,]*)(?:,(.*))?$/s.exec(value)
  if (!parts) return 'must be NAME=URL, as in wiki=http://127.0.0.1:3000'
  const [, name = '', internalUrl = '', option] = parts
  if (option !== undefined && option !== 'passthrough') {
    return `only "passthrough" may follow the comma, not "${option}"; write a comma of the URL itself as %2C`
  }
  return {
    name,
    displayName: name,
    internalUrl,
    access: option === 'passthrough' ? 'passthrough' : 'signed-in',
  }
}

function problemsOf({ name, internalUrl }: Publication, names: ReadonlySet<string>): string[] {
  const problems: string[] = []
  const slug = Slug.safeParse(name)
  if (!slug.success) problems.push(`the name ${slug.error.issues[0]?.message}`)
  if (name === portalName) problems.push('the name "portal" is the portal\'s own; choose another')
  if (sampleNames.some(sample => sample === name))
    problems.push(`"${name}" is a sample application; choose another name`)
  if (names.has(name)) problems.push(`the name "${name}" is given twice; choose another for one`)
  const url = OnPremisesPublishing.shape.internalUrl.safeParse(internalUrl)
  if (!url.success) problems.push(`the URL ${url.error.issues[0]?.message}`)
  return problems
}
