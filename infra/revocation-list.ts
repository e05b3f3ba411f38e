/**
 * Certificate revocation lists (RFC 5280 §5): made by the authority that issued the certificates, for whoever checks
 * them without asking the registry. Within Sallyport the registry's own record decides; the list is for other software
 * and for audit.
 */

import type { X509Certificate } from 'node:crypto'
import { SallyportError } from './errors.ts'
import { cryptoKey, type Issuer, signingAlgorithm } from './pki.ts'
import {
  AuthorityKeyIdentifierExtension,
  Extension,
  ParsedCertificate,
  SubjectKeyIdentifierExtension,
  X509Crl,
  X509CrlGenerator,
  X509CrlReason,
} from './x509.ts'

export interface RevokedCertificate {
  /** Hexadecimal, as `X509Certificate.serialNumber`. */
  readonly serialNumber: string
  readonly revokedAtMs: number
}

export interface RevocationListOptions {
  revoked: readonly RevokedCertificate[]
  /** Grows from list to list. */
  number: number
  nowMs: number
  /** When the next list comes at the latest. */
  nextMs: number
}

const listNumber = '2.5.29.20'

/** The list as DER. */
export async function createRevocationList(
  { certificate, key }: Issuer,
  { revoked, number, nowMs, nextMs }: RevocationListOptions,
): Promise<Buffer> {
  const parsed = new ParsedCertificate(certificate.raw)
  const { keyId } = parsed.getExtension(SubjectKeyIdentifierExtension) ?? {}
  const list = await X509CrlGenerator.create({
    issuer: parsed.subjectName,
    thisUpdate: new Date(nowMs),
    nextUpdate: new Date(nextMs),
    entries: revoked.map(({ serialNumber, revokedAtMs }) => ({
      serialNumber: serialNumber.toLowerCase(),
      revocationDate: new Date(revokedAtMs),
      reason: X509CrlReason.cessationOfOperation,
    })),
    extensions: [
      new Extension(listNumber, false, derInteger(number)),
      ...(keyId === undefined ? [] : [new AuthorityKeyIdentifierExtension(keyId)]),
    ],
    signingKey: await cryptoKey(key),
    signingAlgorithm: signingAlgorithm(key),
  })
  return Buffer.from(list.rawData)
}

export interface RevocationList {
  isRevoked(certificate: Pick<X509Certificate, 'serialNumber'>): boolean
  readonly nextMs: number
}

/** @throws SallyportError `certificate_invalid` when it is no list, not of this issuer, or out of date. */
export async function readRevocationList(
  list: Buffer | string,
  { issuer, nowMs }: { issuer: X509Certificate; nowMs: number },
): Promise<RevocationList> {
  const parsed = parse(list)
  const isSigned = await parsed
    .verify({ publicKey: new ParsedCertificate(issuer.raw).publicKey })
    .catch(() => false)
  if (!isSigned) throw invalid('the revocation list is not signed by this authority')
  const nextMs = parsed.nextUpdate?.getTime() ?? 0
  if (nowMs > nextMs)
    throw invalid(`the revocation list was good until ${new Date(nextMs).toISOString()}`)
  const serialNumbers = new Set(parsed.entries.map(entry => canonical(entry.serialNumber)))
  return {
    nextMs,
    isRevoked: ({ serialNumber }) => serialNumbers.has(canonical(serialNumber)),
  }
}

function parse(list: Buffer | string): X509Crl {
  try {
    return new X509Crl(typeof list === 'string' ? list : new Uint8Array(list))
  } catch (error) {
    throw new SallyportError('certificate_invalid', 'this is not a revocation list', {
      cause: error,
    })
  }
}

function invalid(detail: string): SallyportError {
  return new SallyportError('certificate_invalid', detail)
}

function canonical(serialNumber: string): string {
  return serialNumber.toLowerCase().replace(/^0+/, '')
}

/** DER of a number that is not negative. */
function derInteger(value: number): Uint8Array<ArrayBuffer> {
  const digits = value.toString(16)
  const octets = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex')
  const padded = (octets[0] as number) > 0x7f ? [0, ...octets] : [...octets]
  return Uint8Array.from([2, padded.length, ...padded])
}
