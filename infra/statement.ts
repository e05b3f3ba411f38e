/**
 * What the registry states towards connectors, so that nothing on the way can change or invent it: JWS compact (RFC
 * 7515) with the chain of the signer's certificate in `x5c`, which has to lead to the root that the connector got when
 * it was enrolled. `typ` says what is stated: one kind never passes for another. A statement that answers a question
 * repeats its nonce, so an older answer does not pass for it; what comes unasked has none, and its reader has to see by
 * its content that it is not an old one.
 */

import { type KeyObject, randomBytes, sign, verify, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { checkChain, registrySpiffeId, spiffeIdIn, trustDomainOf } from './certificates.ts'
import { SallyportError } from './errors.ts'

/** What can be stated, and `typ` of each. */
const statementTypes = {
  /** Applications of a connector group: a page of them, or what has changed. */
  applications: 'sallyport-applications+jws',
  /** The keys that verify access leases, and the time. */
  leaseKeys: 'sallyport-lease-keys+jws',
  /** The group that a connector belongs to, and whether it may serve. */
  placement: 'sallyport-placement+jws',
} as const
export type StatementType = keyof typeof statementTypes

export interface StatementSigner {
  /** The signer's certificate first; the root may be left out. */
  readonly chain: readonly X509Certificate[]
  /** Ed25519, or ECDSA on P-256. */
  readonly key: KeyObject
}

/** A longer one is refused before anything of it is read. */
export const maxStatementChars = 2 * 2 ** 20

/** A statement as it travels: a JSON string. */
export const StatementText = z.string().max(maxStatementChars)

/** Of the header: room for a chain of a few certificates. */
const maxHeaderChars = 16 * 1024

const Header = z.strictObject({
  alg: z.enum(['ES256', 'EdDSA']),
  typ: z.string(),
  x5c: z.array(z.base64().max(8_192)).min(1).max(4),
})

/** How many bytes of payload fit into a message of the bus: three octets become four, and the header has a chain. */
export function payloadBytesIn(messageBytes: number): number {
  return Math.floor(((messageBytes - maxHeaderChars) * 3) / 4)
}

/** What somebody who asks makes up for this one question. */
export const Nonce = z.string().regex(/^[\w-]{16,64}$/)

export function createNonce(): string {
  return randomBytes(16).toString('base64url')
}

/** Signs a payload, which must be JSON. */
export function signStatement(
  { chain, key }: StatementSigner,
  type: StatementType,
  payload: object,
): string {
  const alg = algorithmOf(key)
  const x5c = chain.filter(({ issuer, subject }) => issuer !== subject)
  const header = { alg, typ: statementTypes[type], x5c: x5c.map(it => it.raw.toString('base64')) }
  const content = `${encode(header)}.${encode(payload)}`
  const signature = sign(digestOf(alg), Buffer.from(content, 'latin1'), { key, dsaEncoding })
  return `${content}.${signature.toString('base64url')}`
}

/**
 * The payload of a statement that the registry of this root has signed. The chain of a certificate is checked once a
 * minute, the signature every time.
 * @throws SallyportError `protocol_error`, or what is wrong with the certificate.
 */
export function verifyStatement(
  root: X509Certificate,
  type: StatementType,
  text: string,
  nowMs = Date.now(),
): unknown {
  if (text.length > maxStatementChars) throw refused('too long')
  const [header = '', payload = '', signature = '', ...more] = text.split('.')
  if (more.length > 0 || signature === '') throw refused('not signed')
  const { alg, typ, x5c } = readHeader(header)
  if (typ !== statementTypes[type]) throw refused(`of the kind "${typ}" in place of ${type}`)
  const key = keyOf(root, x5c, nowMs)
  if (algorithmOf(key) !== alg) throw refused('the algorithm is not that of the key')
  const signed = Buffer.from(`${header}.${payload}`, 'latin1')
  const isSigned = verify(digestOf(alg), signed, { key, dsaEncoding }, decode(signature))
  if (!isSigned) throw refused('the signature is wrong')
  return parse(payload)
}

function readHeader(header: string): z.output<typeof Header> {
  if (header.length > maxHeaderChars) throw refused('the header is too long')
  const result = Header.safeParse(parse(header))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw refused(`header: ${issue?.path.join('.')} ${issue?.message}`)
}

interface Checked {
  readonly x5c: string
  readonly key: KeyObject
  readonly atMs: number
}

/** The last signer whose chain was found good, of each root: there is hardly ever another one. */
const checked = new WeakMap<X509Certificate, Checked>()
const recheckMs = 60_000

/** The public key of a chain that leads from the registry's certificate to this root. */
function keyOf(root: X509Certificate, x5c: readonly string[], nowMs: number): KeyObject {
  const known = checked.get(root)
  const text = x5c.join()
  if (known?.x5c === text && Math.abs(nowMs - known.atMs) < recheckMs) return known.key
  const chain = x5c.map(readCertificate)
  checkChain({ chain, anchor: root, purpose: 'signing', nowMs })
  const [end] = chain
  const expected = registrySpiffeId(trustDomainOf(root))
  if (!end || spiffeIdIn(end) !== expected) {
    throw refused(`signed by ${(end && spiffeIdIn(end)) ?? 'nobody'} and not by ${expected}`)
  }
  const { publicKey: key } = end
  checked.set(root, { x5c: text, key, atMs: nowMs })
  return key
}

function readCertificate(base64: string): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(base64, 'base64'))
  } catch (cause) {
    throw refused('a certificate cannot be read', cause)
  }
}

/** Signatures of ECDSA as JWS wants them (RFC 7518 §3.4); means nothing to Ed25519. */
const dsaEncoding = 'ieee-p1363'

function algorithmOf(key: KeyObject): 'ES256' | 'EdDSA' {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return 'ES256'
  throw refused('the key is neither Ed25519 nor on P-256')
}

function digestOf(alg: 'ES256' | 'EdDSA'): 'sha256' | null {
  return alg === 'ES256' ? 'sha256' : null
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** In its one canonical form: what is signed cannot be spelt otherwise, the signature itself could. */
function decode(part: string): Buffer {
  const octets = Buffer.from(part, 'base64url')
  if (octets.toString('base64url') !== part) throw refused('not base64url')
  return octets
}

function parse(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch (cause) {
    throw refused('not JSON', cause)
  }
}

function refused(detail: string, cause?: unknown): SallyportError {
  return new SallyportError('protocol_error', `statement: ${detail}`, { cause })
}
