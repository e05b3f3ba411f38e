/**
 * External URLs: the one that an application gets by default, and the rule that an address belongs to one application.
 * Two URLs are the same address when host and path are: the gateway tells applications apart by nothing else.
 */

import type { Application } from '#infra/contracts/application.ts'
import { controlPrefix, isAmbiguousPath } from '#infra/http.ts'
import { invalid, Refusal } from './refusal.ts'

/** `http://wiki.sallyport.localhost:8080/` for `wiki` below `http://sallyport.localhost:8080/`. */
export function defaultExternalUrl(id: string, externalBaseUrl: string | undefined): string {
  if (externalBaseUrl === undefined) {
    throw invalid(
      'onPremisesPublishing.externalUrl',
      'is required, because this registry has no SALLYPORT_REGISTRY_EXTERNAL_BASE_URL to make one from',
    )
  }
  const { protocol, host } = new URL(externalBaseUrl)
  return `${protocol}//${id}.${host}/`
}

/** `at` says which application is published at an address. */
export function checkExternalUrl(
  candidate: Application,
  at: (address: string) => string | undefined,
  externalBaseUrl: string | undefined,
): void {
  const property = 'onPremisesPublishing.externalUrl'
  checkPath(property, new URL(candidate.onPremisesPublishing.externalUrl).pathname)
  const address = addressOf(candidate)
  const same = at(address)
  if (same !== undefined && same !== candidate.id) {
    const message = `${address} belongs to the application "${same}" already`
    throw new Refusal('already_exists', message, [{ property, message }])
  }
  if (externalBaseUrl === undefined) return
  const portal = `portal.${new URL(externalBaseUrl).hostname}`
  if (new URL(candidate.onPremisesPublishing.externalUrl).hostname === portal) {
    throw invalid(property, `${portal} is the portal's own host`)
  }
}

/** Gateways would pass on no request to these. */
function checkPath(property: string, pathname: string): void {
  if (pathname.startsWith(controlPrefix))
    throw invalid(property, `the path ${controlPrefix} belongs to the gateway at every host`)
  if (isAmbiguousPath(pathname))
    throw invalid(property, `the path ${pathname} can be read in two ways: use plain characters`)
}

/** What the gateway tells applications apart by. */
export function addressOf({ onPremisesPublishing }: Application): string {
  const { hostname, pathname } = new URL(onPremisesPublishing.externalUrl)
  return `${hostname}${pathname}`
}
