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

/** Builds the index once for each state of the applications. */
export function indexApplications(applications: Iterable<Application>): Publication {
  const exact = new Map<string, PublishedPath[]>()
  /** Keyed by the domain after the star. */
  const wildcards = new Map<string, PublishedPath[]>()
  for (const application of applications) {
    const { hostname, pathname } = placeOf(application)
    const isWildcard = hostname.startsWith('*.') || hostname.startsWith('%2a.')
    const hosts = isWildcard ? wildcards : exact
    const key = isWildcard ? hostname.slice(hostname.indexOf('.') + 1) : hostname
    const paths = hosts.get(key) ?? []
    paths.push({ prefix: pathname, application })
    hosts.set(key, paths)
  }
  for (const hosts of [exact, wildcards]) {
    for (const paths of hosts.values()) paths.sort((a, b) => b.prefix.length - a.prefix.length)
  }
  return { at: hostname => exact.get(hostname) ?? wildcardAt(wildcards, hostname) }
}

interface Place {
  readonly hostname: string
  readonly pathname: string
}

/** Parsed once for each application, so that a change of one does not cost the parsing of all. */
const places = new WeakMap<Application, Place>()

function placeOf(application: Application): Place {
  let place = places.get(application)
  if (!place) {
    const { hostname, pathname } = new URL(application.onPremisesPublishing.externalUrl)
    place = { hostname, pathname }
    places.set(application, place)
  }
  return place
}

function wildcardAt(
  wildcards: ReadonlyMap<string, PublishedPath[]>,
  hostname: string,
): readonly PublishedPath[] | undefined {
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
