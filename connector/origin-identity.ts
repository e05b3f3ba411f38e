/**
 * Whether an origin is who it should be, once its TLS connection is there: chain, name, and pins, each as far as the
 * application asks for it. What did not match is told to operators in full; users hear only that it failed.
 */

import { createHash, type X509Certificate } from 'node:crypto'
import { checkServerIdentity, type TLSSocket } from 'node:tls'
import type { FaultCode } from '#infra/errors.ts'
import { OriginError } from './origin-error.ts'

/** What an application asks of its origin's certificate. */
export interface ExpectedIdentity {
  /** Whether authorities have to vouch for the certificate, and for this name. */
  readonly verifiesCertificate: boolean
  readonly serverName: string
  /** SHA-256 of the certificate or of its public key, in hex; empty for none. */
  readonly pins: readonly string[]
}

/** Undefined when everything that is asked for holds. */
export function identityProblem(
  socket: TLSSocket,
  expected: ExpectedIdentity,
): OriginError | undefined {
  // To be asked once: Node has nothing to say the second time.
  const certificate = socket.getPeerX509Certificate()
  if (!certificate) return problem('origin_tls_untrusted', 'the origin showed no certificate')
  return (
    (expected.verifiesCertificate
      ? certificateProblem(socket, certificate, expected)
      : undefined) ?? pinProblem(certificate, expected.pins)
  )
}

function certificateProblem(
  socket: TLSSocket,
  certificate: X509Certificate,
  { serverName }: ExpectedIdentity,
): OriginError | undefined {
  if (socket.authorized !== true) {
    const code = String(socket.authorizationError ?? 'not authorized')
    return chainProblem(code, certificate)
  }
  const mismatch = checkServerIdentity(serverName, certificate.toLegacyObject())
  if (!mismatch) return undefined
  const names = certificate.subjectAltName ?? 'no name'
  return problem(
    'origin_tls_wrong_name',
    `the certificate is for ${names} and not for ${serverName}; originServerName would name another`,
  )
}

function chainProblem(code: string, certificate: X509Certificate): OriginError {
  const { validFromDate: from, validToDate: to } = certificate
  const now = Date.now()
  if (now < from.getTime() || now > to.getTime()) {
    const times = `from ${from.toISOString()} to ${to.toISOString()}`
    return problem('origin_tls_expired', `the certificate is valid ${times} (${code})`)
  }
  const isOfIssuer = code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID'
  if (isOfIssuer) {
    return problem('origin_tls_expired', `an issuer of the certificate has expired (${code})`)
  }
  const { subject, issuer } = certificate
  const detail = `no trusted authority vouches for the certificate of ${oneLine(subject)}, issued by ${oneLine(issuer)} (${code}); SHA-256 of its key ${keyDigest(certificate)}`
  return problem('origin_tls_untrusted', detail)
}

function pinProblem(
  certificate: X509Certificate,
  pins: readonly string[],
): OriginError | undefined {
  if (pins.length === 0) return undefined
  const [whole, key] = [digestOf(certificate.raw), keyDigest(certificate)]
  if (pins.includes(whole) || pins.includes(key)) return undefined
  const shown = `the certificate has SHA-256 ${whole} and its key ${key}`
  return problem('origin_tls_wrong_pin', `${shown}; pinned: ${pins.join(', ')}`)
}

function problem(code: FaultCode, detail: string): OriginError {
  return new OriginError(code, detail, false)
}

function keyDigest({ publicKey }: X509Certificate): string {
  return digestOf(publicKey.export({ type: 'spki', format: 'der' }))
}

function digestOf(octets: Buffer): string {
  return createHash('sha256').update(octets).digest('hex')
}

/** A distinguished name as Node gives it has a line for each part. */
function oneLine(name: string | undefined): string {
  return name ? name.replaceAll('\n', ', ') : 'nobody'
}
