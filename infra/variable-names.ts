/**
 * Which variables of the environment are nobody's. A service refuses a name of its own kind that it does not know: a
 * setting that was meant to protect something would not be there. Other services' variables may stand beside its own,
 * and of what is nobody's at all there is a warning.
 */

import type { Environment } from './config.ts'
import { serviceVariables } from './embedded/service-help.ts'
import type { ServiceRole } from './embedded/service-process.ts'
import { nearest } from './nearest.ts'
import { workerVariable } from './worker.ts'

/** Of the command line, and of infra/deploy/compose.yaml. */
const furtherNames = [
  'SALLYPORT_ADMIN_URL',
  'SALLYPORT_ADMIN_TOKEN',
  'SALLYPORT_CONNECTOR_TOKEN',
  workerVariable,
  'SALLYPORT_AUDIT_MAX_BYTES',
  'SALLYPORT_CLIENT_ID',
  'SALLYPORT_CLIENT_SECRET_FILE',
  'SALLYPORT_CONNECTOR_BUS_URLS',
  'SALLYPORT_CONNECTOR_TOKEN_1',
  'SALLYPORT_CONNECTOR_TOKEN_2',
  'SALLYPORT_EXTERNAL_BASE_URL',
  'SALLYPORT_GATEWAY_1',
  'SALLYPORT_GATEWAY_2',
  'SALLYPORT_IDENTITY_PROVIDER',
  'SALLYPORT_IMAGE',
  'SALLYPORT_NATS_IMAGE',
  'SALLYPORT_NODE_IMAGE',
  'SALLYPORT_PORTAL_URL',
  'SALLYPORT_REGISTRY_1',
  'SALLYPORT_SECRETS',
  'SALLYPORT_TRUSTED_PROXIES',
]

const allRoles = Object.keys(serviceVariables) as ServiceRole[]

const knownNames: ReadonlySet<string> = new Set([
  ...Object.values(serviceVariables).flatMap(Object.keys),
  ...furtherNames,
])

/** What Kubernetes sets in every container for a service that is called sallyport-gateway, say. */
const ofKubernetes = /_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/

export interface UnknownNames {
  /** Problems: names of the kind that these services read. */
  readonly refused: readonly string[]
  /** Names that nobody reads, with what was meant. */
  readonly doubtful: readonly { readonly name: string; readonly says: string }[]
}

/** What the environment has set that none of these services, and nobody else, reads. */
export function unknownNames(
  environment: Environment,
  roles: readonly ServiceRole[] = allRoles,
): UnknownNames {
  const own = roles.flatMap(role => Object.keys(serviceVariables[role]))
  const kinds = new Set(own.filter(name => name.startsWith('SALLYPORT_')).map(kindOf))
  const unknown = Object.keys(environment).filter(
    name =>
      environment[name] &&
      name.startsWith('SALLYPORT_') &&
      !isKnown(name) &&
      !ofKubernetes.test(name),
  )
  const says = (name: string) => `is not a variable of Sallyport; ${fixOf(name, own, roles)}`
  return {
    refused: unknown.filter(name => kinds.has(kindOf(name))).map(name => `${name}: ${says(name)}`),
    doubtful: unknown
      .filter(name => !kinds.has(kindOf(name)))
      .map(name => ({ name, says: says(name) })),
  }
}

/** Without files that other services read their secrets from: this one may not be allowed to. */
export function withoutFilesOfOthers(environment: Environment, role: ServiceRole): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name]) =>
        !(name.startsWith('SALLYPORT_') && name.endsWith(file)) ||
        stemOf(name) in serviceVariables[role],
    ),
  )
}

const file = '_FILE'
const product = 'SALLYPORT'

const isKnown = (name: string) => knownNames.has(name) || knownNames.has(stemOf(name))

/** `SALLYPORT_GATEWAY` */
const kindOf = (name: string) => name.split('_', 2).join('_')

function stemOf(name: string): string {
  return name.endsWith(file) ? name.slice(0, -file.length) : name
}

/** Looked for first among names of the same kind, by what is their own: the long beginning makes all names alike. */
function fixOf(name: string, own: readonly string[], roles: readonly ServiceRole[]): string {
  const kind = kindOf(name)
  const meant = nearestBehind(kind, name, own) ?? nearestBehind(product, name, [...knownNames])
  if (meant !== undefined) return `did you mean ${meant}?`
  const [role] = roles.length === 1 ? roles : ['SERVICE']
  return `sallyport ${role} --help lists those that there are`
}

function nearestBehind(start: string, name: string, known: readonly string[]): string | undefined {
  const ends = known
    .filter(each => each.startsWith(`${start}_`))
    .map(each => each.slice(start.length))
  const meant = nearest(name.slice(start.length), [...ends, ...ends.map(end => `${end}${file}`)])
  return meant && `${start}${meant}`
}
