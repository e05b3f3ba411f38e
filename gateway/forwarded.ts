/** The headers that tell the origin who asked, by which name and how (RFC 7239, RFC 9110 §7.6.3, W3C Trace Context). */

import { randomBytes } from 'node:crypto'
import type { Incoming } from './incoming.ts'

const validTraceparent = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/

/** Trace ids are unique, not secret: a random half for the process and a count. */
const traceSeed = randomBytes(8).toString('hex')
let traceCount = 0

/** Headers for the origin: those of the client that may pass, and what only the gateway may say. */
export function forwardedHeaders(
  incoming: Incoming,
  scheme: string,
  switchesProtocols: boolean,
): string[] {
  const { headers, host, port, clientAddress, peerAddress, forwardedFor, requestId } = incoming
  headers.push(
    'X-Forwarded-For',
    forwardedFor === undefined ? peerAddress : `${forwardedFor}, ${peerAddress}`,
    'X-Forwarded-Proto',
    scheme,
    'X-Forwarded-Host',
    host,
    'X-Forwarded-Port',
    port || (scheme === 'https' ? '443' : '80'),
    'Forwarded',
    `for=${node(clientAddress)};host="${host}";proto=${scheme}`,
    'X-Request-Id',
    requestId,
    'traceparent',
    traceparentOf(incoming),
    'Via',
    incoming.isHttp2 ? '2.0 sallyport' : '1.1 sallyport',
  )
  if (switchesProtocols && incoming.protocolUpgrade !== undefined) {
    headers.push('Connection', 'Upgrade', 'Upgrade', incoming.protocolUpgrade)
  }
  return headers
}

/** RFC 7239 §6: an IPv6 address stands in brackets and quotes. */
function node(address: string): string {
  return address.includes(':') ? `"[${address}]"` : address
}

function traceparentOf({ traceparent }: Incoming): string {
  if (traceparent !== undefined && validTraceparent.test(traceparent)) return traceparent
  const count = (++traceCount).toString(16).padStart(16, '0')
  return `00-${traceSeed}${count}-${count}-01`
}
