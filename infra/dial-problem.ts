/** Why the bus could not be reached, in words that name what has to be changed. The original error is the cause. */

import { AuthorizationError } from '@nats-io/transport-node'

/** What TLS says of a certificate that no known authority has issued. */
const foreignCertificate = new Set([
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

export const foreignBus =
  'its certificate is not from the expected authority: another bus, or something in between that inspects TLS'

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused: nothing listens there',
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name cannot be looked up now',
  EHOSTUNREACH: 'there is no way to that address',
  ENETUNREACH: 'there is no way to that address',
  ETIMEDOUT: 'no answer',
  CERT_HAS_EXPIRED: 'its certificate has expired, or the clock of this machine is wrong',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: the clock of this machine is wrong',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    'it got no client certificate: something in between ends TLS',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'it does not know the authority of our certificate',
  ERR_SSL_TLSV1_ALERT_DECRYPT_ERROR: 'it does not take our certificate',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'it does not take our certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'our certificate has expired',
  // As OpenSSL 3.5 names the same two.
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE': 'it does not take our certificate',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED': 'our certificate has expired',
}

export function dialProblem(error: unknown): Error {
  const reason = reasonOf(error)
  return new Error(reason, { cause: error })
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message.trim() : String(error)
  if (/\b407\b/.test(message)) {
    return 'the proxy wants a user and a password (407): put them into HTTPS_PROXY, as in http://user:password@host:port'
  }
  const tunnel = /tunnel.* HTTP\/[\d.]+ ([345]\d\d)/i.exec(message)
  if (tunnel) return `the proxy does not connect to it (${tunnel[1]})`
  for (const { code, address, port } of failuresIn(error)) {
    if (foreignCertificate.has(code)) return foreignBus
    // It may be a proxy's, not that of the bus.
    if (code === 'ECONNREFUSED' && address !== undefined)
      return `connection refused: nothing listens at ${address} port ${port}`
    const reason = reasons[code]
    if (reason !== undefined) return reason
  }
  if (error instanceof AuthorizationError) return 'it refuses our key or certificate'
  return message || 'it gave no reason'
}

interface Failure {
  code: string
  address?: string
  port?: number
}

function* failuresIn(error: unknown): Iterable<Failure> {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string') yield cause as Error & Failure
    if (cause instanceof AggregateError) for (const one of cause.errors) yield* failuresIn(one)
  }
}
