/**
 * Pages of other origins that an application has let in with the session of their user (contracts/cors.ts). The gateway
 * answers their preflights, for browsers send those without a cookie, and says to browsers what such a page may read,
 * in the application's place (Fetch, "CORS protocol").
 */

import type { Application } from '#infra/contracts/application.ts'
import { anything, type CorsConfiguration, opaqueOrigin } from '#infra/contracts/cors.ts'
import { headerValue, isBelow } from '#infra/http.ts'
import type { Incoming } from './incoming.ts'

/** For a path of which an application lets other origins ask something. */
export interface CrossOrigin {
  readonly configurations: readonly CorsConfiguration[]
  /** The page that asks is one of them, and may use this method. */
  readonly isAllowed: boolean
  /** Whose scripts may read the answer; undefined for nobody's. */
  readonly reader: string | undefined
}

type Asked = Pick<Incoming, 'path' | 'origin' | 'method' | 'headers'>

/** Undefined where an application lets no other origin in. */
export function crossOriginOf(application: Application, asked: Asked): CrossOrigin | undefined {
  if (application.onPremisesPublishing.corsConfigurations.length === 0) return undefined
  const { origin, method, path } = asked
  const configurations = resourcesOf(application)
    .filter(({ prefix }) => isBelow(path, prefix))
    .map(({ configuration }) => configuration)
  if (configurations.length === 0) return undefined
  const isAllowed =
    origin !== undefined && configurations.some(each => lets(each, origin) && takes(each, method))
  // Any page can have itself shown without an origin, in a sandboxed frame.
  const reader = isAllowed && origin !== opaqueOrigin ? origin : undefined
  return { configurations, isAllowed, reader }
}

/** Fields of the answer to a preflight; undefined when it is none, or asks for something that no entry allows. */
export function preflightAnswer(
  { configurations }: CrossOrigin,
  { origin, method, headers }: Asked,
): string[] | undefined {
  const wanted = headerValue(headers, 'access-control-request-method')
  if (method !== 'OPTIONS' || wanted === undefined) return undefined
  if (origin === undefined || origin === opaqueOrigin) return undefined
  const names = namesIn(headerValue(headers, 'access-control-request-headers') ?? '')
  const found = configurations.find(
    each => lets(each, origin) && takes(each, wanted) && names.every(name => lists(each, name)),
  )
  if (!found) return undefined
  return [
    ...readable(origin),
    ...['Access-Control-Allow-Methods', wanted],
    ...(names.length > 0 ? ['Access-Control-Allow-Headers', names.join(', ')] : []),
    ...['Access-Control-Max-Age', `${found.maxAgeInSeconds}`],
    ...['Vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers'],
  ]
}

/** What an application says for itself is about its internal address. */
const replaced = new Set(['access-control-allow-origin', 'access-control-allow-credentials'])

/** The fields of an answer, with what browsers have to know of who may read it. */
export function forReader(headers: readonly string[], reader: string | undefined): string[] {
  if (reader === undefined) return [...headers, 'Vary', 'Origin']
  const others = headers.filter((_, i) => !replaced.has(headers[i & ~1]?.toLowerCase() ?? ''))
  return [...others, ...readable(reader), 'Vary', 'Origin']
}

function readable(origin: string): string[] {
  const may = ['Access-Control-Allow-Credentials', 'true']
  return ['Access-Control-Allow-Origin', origin, ...may]
}

const resources = new WeakMap<Application, { prefix: string; configuration: CorsConfiguration }[]>()

function resourcesOf(application: Application) {
  const known = resources.get(application)
  if (known) return known
  const { externalUrl, corsConfigurations } = application.onPremisesPublishing
  // The star of a wildcard application is in its host name.
  const base = new URL(externalUrl).pathname.slice(0, -1)
  const found = corsConfigurations.map(configuration => {
    const path = `${base}${configuration.resource}`
    return { prefix: path.endsWith('/') ? path : `${path}/`, configuration }
  })
  resources.set(application, found)
  return found
}

function lets({ allowedOrigins }: CorsConfiguration, origin: string): boolean {
  return allowedOrigins.includes(origin)
}

function takes({ allowedMethods }: CorsConfiguration, method: string): boolean {
  return allowedMethods.includes(method) || allowedMethods.includes(anything)
}

function lists({ allowedHeaders }: CorsConfiguration, name: string): boolean {
  return allowedHeaders.some(pattern => {
    const lower = pattern.toLowerCase()
    return lower.endsWith(anything) ? name.startsWith(lower.slice(0, -1)) : name === lower
  })
}

function namesIn(list: string): string[] {
  return list
    .split(',')
    .map(name => name.trim().toLowerCase())
    .filter(Boolean)
}
