/**
 * Which application do this host and path belong to? Exact host before wildcard, the longer wildcard before the
 * shorter, the longest path that ends at a segment. A lookup, never a scan: its cost does not grow with the number
 * of applications.
 */

import type { Application } from '#infra/contracts/application.ts'
import { isBelow } from '#infra/http.ts'

export interface PublishedPath {
  readonly prefix: string
  readonly application: Application
}

export interface Publication {
  /** Everything published at this host, longest path first; undefined for an unknown host. */
  at(hostname: string): readonly PublishedPath[] | undefined
}

/** What became of one application; undefined: it was, or is, not published. */
export interface PublicationChange {
  readonly before: Application | undefined
  readonly after: Application | undefined
}

/**
 * The index of what is published. A change costs the same however much else is published, and never alters a list that
 * `at` has given.
 */
export class PublicationIndex implements Publication {
  readonly #exact: Hosts = new Map()
  /** Keyed by the domain after the star. */
  readonly #wildcards: Hosts = new Map()

  constructor(applications: Iterable<Application>) {
    for (const application of applications) this.#add(application)
  }

  /** Those that end go first: an address may pass from one application to another. */
  apply(changes: readonly PublicationChange[]): void {
    for (const { before } of changes) if (before) this.#remove(before)
    for (const { after } of changes) if (after) this.#add(after)
  }

  at(hostname: string): readonly PublishedPath[] | undefined {
    return this.#exact.get(hostname) ?? wildcardAt(this.#wildcards, hostname)
  }

  #add(application: Application): void {
    const { hosts, key, prefix } = this.#placeOf(application)
    const others = hosts.get(key)
    const path = { prefix, application }
    hosts.set(key, others ? [...others, path].sort(byLength) : [path])
  }

  #remove(application: Application): void {
    const { hosts, key } = this.#placeOf(application)
    const others = hosts.get(key)?.filter(path => path.application.id !== application.id)
    if (others && others.length > 0) hosts.set(key, others)
    else hosts.delete(key)
  }

  #placeOf({ onPremisesPublishing }: Application): Place {
    const { hostname, pathname: prefix } = new URL(onPremisesPublishing.externalUrl)
    const isWildcard = hostname.startsWith('*.') || hostname.startsWith('%2a.')
    return isWildcard
      ? { hosts: this.#wildcards, key: hostname.slice(hostname.indexOf('.') + 1), prefix }
      : { hosts: this.#exact, key: hostname, prefix }
  }
}

/** Everything published at each host, longest path first. */
type Hosts = Map<string, readonly PublishedPath[]>

interface Place {
  readonly hosts: Hosts
  readonly key: string
  readonly prefix: string
}

const byLength = (a: PublishedPath, b: PublishedPath) => b.prefix.length - a.prefix.length

function wildcardAt(wildcards: Hosts, hostname: string): readonly PublishedPath[] | undefined {
  if (wildcards.size === 0) return undefined
  for (let dot = hostname.indexOf('.'); dot !== -1; dot = hostname.indexOf('.', dot + 1)) {
    const paths = wildcards.get(hostname.slice(dot + 1))
    if (paths) return paths
  }
  return undefined
}

/** The application of a path among those of its host. */
export function applicationAt(
  paths: readonly PublishedPath[],
  path: string,
): Application | undefined {
  return paths.find(({ prefix }) => isBelow(path, prefix))?.application
}

/** Where users reach an application under this host name: protocol and port are those of its external URL. */
export function externalOrigin(application: Application, hostname: string): string {
  const { protocol, port } = new URL(application.onPremisesPublishing.externalUrl)
  return `${protocol}//${hostname}${port ? `:${port}` : ''}`
}
