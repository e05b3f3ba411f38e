/**
 * Where the connections of an application lead, and what is asked of the other side. Applications whose answers to that
 * are alike share their connections.
 */

import { createSecureContext, type SecureContext } from 'node:tls'
import { LRUCache } from 'lru-cache'
import {
  type Application,
  type OnPremisesPublishing,
  originTimeoutsMs,
} from '#infra/contracts/application.ts'
import type { ExpectedIdentity } from './origin-identity.ts'

export interface Destination {
  /** The same for every application whose connections are alike. */
  readonly key: string
  /** Protocol, host and port. */
  readonly origin: string
  readonly host: string
  readonly port: number
  readonly connectTimeoutMs: number
  /** Undefined without TLS. */
  readonly tls: (ExpectedIdentity & { readonly context: SecureContext }) | undefined
}

const known = new WeakMap<Application, Destination>()

/** Found once for each state of an application. */
export function destinationOf(application: Application): Destination {
  let destination = known.get(application)
  if (!destination) {
    destination = readDestination(application.onPremisesPublishing)
    known.set(application, destination)
  }
  return destination
}

function readDestination(publishing: OnPremisesPublishing): Destination {
  const { internalUrl, isBackendCertificateValidationEnabled: verifiesCertificate } = publishing
  const { originCertificateAuthorities: ca, originServerName, originCertificatePins } = publishing
  const connectTimeoutMs = originTimeoutsMs(publishing).connect
  const place = placeOf(internalUrl)
  const common = { ...place, connectTimeoutMs }
  if (!place.origin.startsWith('https:'))
    return { ...common, key: `${connectTimeoutMs} ${place.origin}`, tls: undefined }
  const identity: ExpectedIdentity = {
    verifiesCertificate,
    serverName: originServerName ?? place.host,
    pins: originCertificatePins ?? [],
  }
  const key = JSON.stringify([connectTimeoutMs, place.origin, identity, ca])
  return { ...common, key, tls: { ...identity, context: contextOf(ca) } }
}

/** Each takes some memory: applications that trust the same authorities share one. */
const contexts = new LRUCache<string, SecureContext>({ max: 200 })

function contextOf(ca: string | null): SecureContext {
  let context = contexts.get(ca ?? '')
  if (!context) {
    // Of its own authorities, an application may name an intermediate alone.
    context = createSecureContext(ca === null ? {} : { ca, allowPartialTrustChain: true })
    contexts.set(ca ?? '', context)
  }
  return context
}

/** Where a URL leads, as sockets want it. */
export function placeOf(url: string): Pick<Destination, 'origin' | 'host' | 'port'> {
  const { origin, protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  return { origin, host, port: Number(port || (protocol === 'https:' ? 443 : 80)) }
}
