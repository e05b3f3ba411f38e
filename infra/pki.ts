/**
 * Makes what a certificate authority makes: keys, a root, intermediates, certificates for servers, connectors and the
 * registry's signatures, and signing requests (RFC 5280, RFC 2986). Nothing is read from disk here, and nothing is
 * decided: who gets a certificate is the registry's business. Checking is in certificates.ts, revocation lists in
 * revocation-list.ts.
 */

import {
  createPublicKey,
  generateKeyPairSync,
  KeyObject,
  randomBytes,
  type webcrypto,
  X509Certificate,
} from 'node:crypto'
import { isIP } from 'node:net'
import { registrySpiffeId, spiffeIdOf, usages } from './certificates.ts'
import { SallyportError } from './errors.ts'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  ParsedCertificate,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from './x509.ts'

/** A certificate that may sign others, with its private key. */
export interface Issuer {
  readonly certificate: X509Certificate
  readonly key: KeyObject
}

export interface Lifetime {
  readonly days: number
  /** When it is made; now unless given. It is valid from two hours before, for hosts whose clocks are late. */
  readonly nowMs?: number
}

const dayMs = 86_400_000
const backdatedMs = 2 * 3_600_000

/** A private key on the curve P-256; its public half is `createPublicKey(key)`. */
export function createKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** PKCS #8, as it is kept in files. */
export function keyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

/** Certificates as PEM, one after the other. */
export function chainPem(chain: readonly X509Certificate[]): string {
  return chain.map(certificate => certificate.toString()).join('')
}

export interface AuthorityRequest extends Lifetime {
  /** Common name. */
  name: string
  key: KeyObject
}

/** A root: signs itself, and intermediates that sign nothing but ends. */
export async function createRoot({ name, key, ...lifetime }: AuthorityRequest): Promise<Issuer> {
  const publicKey = await publicCryptoKey(key)
  const certificate = await issue({
    subject: `CN=${commonName(name)}`,
    key,
    publicKey,
    extensions: [...authorityExtensions(1), await SubjectKeyIdentifierExtension.create(publicKey)],
    ...lifetime,
  })
  return { certificate, key }
}

/** An intermediate for these purposes alone (names of `usages`). */
export async function createIntermediate(
  root: Issuer,
  { name, key, purposes, ...lifetime }: AuthorityRequest & { purposes: readonly Purpose[] },
): Promise<Issuer> {
  const certificate = await issueUnder(root, {
    subject: `CN=${commonName(name)}`,
    publicKey: await publicCryptoKey(key),
    extensions: [...authorityExtensions(0), extendedUsage(purposes)],
    ...lifetime,
  })
  return { certificate, key }
}

type Purpose = keyof typeof usages

/** For a TLS server at these DNS names and addresses, which may also come to others of its kind. */
export async function createServerCertificate(
  issuer: Issuer,
  { key, names, ...lifetime }: { key: KeyObject; names: readonly string[] } & Lifetime,
): Promise<X509Certificate> {
  return issueUnder(issuer, {
    subject: `CN=${commonName(names[0] ?? 'server')}`,
    publicKey: await publicCryptoKey(key),
    extensions: [
      ...endExtensions(['server', 'client']),
      new SubjectAlternativeNameExtension(
        names.map(value => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
      ),
    ],
    ...lifetime,
  })
}

/** For the registry's signatures on what connectors are told. */
export async function createRegistryCertificate(
  issuer: Issuer,
  { key, trustDomain, ...lifetime }: { key: KeyObject; trustDomain: string } & Lifetime,
): Promise<X509Certificate> {
  return issueUnder(issuer, {
    subject: 'CN=Sallyport registry',
    publicKey: await publicCryptoKey(key),
    extensions: [...endExtensions(['signing']), uriName(registrySpiffeId(trustDomain))],
    ...lifetime,
  })
}

export interface ConnectorCertificateRequest extends Lifetime {
  connectorId: string
  trustDomain: string
  /** From `readSigningRequest`. */
  publicKey: KeyObject
}

/** For a connector's connections to the bus. It says who the connector is, never what it may do. */
export async function createConnectorCertificate(
  issuer: Issuer,
  { connectorId, trustDomain, publicKey, ...lifetime }: ConnectorCertificateRequest,
): Promise<X509Certificate> {
  return issueUnder(issuer, {
    subject: `CN=${commonName(connectorId)}`,
    publicKey: await publicCryptoKey(publicKey),
    extensions: [...endExtensions(['client']), uriName(spiffeIdOf(trustDomain, connectorId))],
    ...lifetime,
  })
}

/** A certificate signing request as PEM. Its name says nothing: the authority decides on names. */
export async function createSigningRequest(key: KeyObject): Promise<string> {
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: 'CN=Sallyport connector',
    keys: { privateKey: await cryptoKey(key), publicKey: await publicCryptoKey(key) },
    signingAlgorithm: signingAlgorithm(key),
  })
  return `${request.toString('pem')}\n`
}

export interface SigningRequest {
  /** What a signature over the request covers. */
  readonly der: Buffer
  readonly publicKey: KeyObject
}

/**
 * The public key of a request, whose sender has proved to hold the private one. Names and extensions that it asks for
 * are not looked at. @throws SallyportError `bad_request` for anything but a well signed request for a P-256 key.
 */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  const request = parseRequest(pem)
  const isProved = await request.verify().catch(() => false)
  if (!isProved) throw new SallyportError('bad_request', 'the signing request is not well signed')
  const publicKey = KeyObject.from(await request.publicKey.export())
  if (publicKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new SallyportError('bad_request', 'the signing request is not for a key on P-256')
  return { der: Buffer.from(request.rawData), publicKey }
}

const maxRequestChars = 8_192

function parseRequest(pem: string): Pkcs10CertificateRequest {
  if (pem.length > maxRequestChars)
    throw new SallyportError('bad_request', 'the signing request is too long')
  try {
    return new Pkcs10CertificateRequest(pem)
  } catch (error) {
    throw new SallyportError('bad_request', 'this is not a signing request', { cause: error })
  }
}

interface Issuing extends Lifetime {
  subject: string
  publicKey: webcrypto.CryptoKey
  extensions: Extension[]
}

async function issueUnder(issuer: Issuer, issuing: Issuing): Promise<X509Certificate> {
  const { certificate, key } = issuer
  const parsed = new ParsedCertificate(certificate.raw)
  const { keyId } = parsed.getExtension(SubjectKeyIdentifierExtension) ?? {}
  const issuerKeyId =
    keyId === undefined
      ? await AuthorityKeyIdentifierExtension.create(parsed.publicKey)
      : new AuthorityKeyIdentifierExtension(keyId)
  const extensions = [
    ...issuing.extensions,
    await SubjectKeyIdentifierExtension.create(issuing.publicKey),
    issuerKeyId,
  ]
  return issue({ ...issuing, extensions, key, under: certificate })
}

async function issue({
  subject,
  publicKey,
  extensions,
  key,
  under,
  days,
  nowMs = Date.now(),
}: Issuing & { key: KeyObject; under?: X509Certificate }): Promise<X509Certificate> {
  const latest = under ? under.validToDate.getTime() : Number.POSITIVE_INFINITY
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject,
    issuer: under ? new ParsedCertificate(under.raw).subjectName : subject,
    notBefore: new Date(nowMs - backdatedMs),
    // What outlived its issuer would fail at an hour that nobody planned.
    notAfter: new Date(Math.min(nowMs + days * dayMs, latest)),
    publicKey,
    signingKey: await cryptoKey(key),
    signingAlgorithm: signingAlgorithm(key),
    extensions,
  })
  return new X509Certificate(Buffer.from(certificate.rawData))
}

function authorityExtensions(pathLength: number): Extension[] {
  return [
    new BasicConstraintsExtension(true, pathLength, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]
}

function endExtensions(purposes: readonly Purpose[]): Extension[] {
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    extendedUsage(purposes),
  ]
}

function extendedUsage(purposes: readonly Purpose[]): Extension {
  return new ExtendedKeyUsageExtension(purposes.map(purpose => usages[purpose]))
}

function uriName(value: string): Extension {
  return new SubjectAlternativeNameExtension([{ type: 'url', value }])
}

/** At most 64 characters (RFC 5280 ub-common-name), none that means something in a distinguished name. */
function commonName(name: string): string {
  return name.replace(/[^A-Za-z0-9 ._-]/g, '-').slice(0, 64)
}

/** 16 octets: unguessable, positive and without a leading zero (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const octets = randomBytes(16)
  octets[0] = ((octets[0] as number) & 0x7f) | 0x40
  return octets.toString('hex')
}

/** How a key of this type signs: what an administrator's root may be is more than what is made here. */
export function signingAlgorithm(key: KeyObject): KeyAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key
  if (type === 'ed25519') return { name: 'Ed25519' }
  if (type === 'rsa') return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
  if (details?.namedCurve === 'prime256v1')
    return { name: 'ECDSA', hash: 'SHA-256', namedCurve: 'P-256' }
  if (details?.namedCurve === 'secp384r1')
    return { name: 'ECDSA', hash: 'SHA-384', namedCurve: 'P-384' }
  throw new SallyportError('internal', `a key of type ${type} cannot sign certificates`)
}

interface KeyAlgorithm {
  readonly name: string
  readonly hash?: string
  readonly namedCurve?: string
}

/** A private key for Web Crypto. */
export async function cryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const der = new Uint8Array(key.export({ type: 'pkcs8', format: 'der' }) as Buffer)
  return crypto.subtle.importKey('pkcs8', der, signingAlgorithm(key), false, ['sign'])
}

/** The public half of a key for Web Crypto. */
async function publicCryptoKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const half = key.type === 'private' ? createPublicKey(key) : key
  const der = new Uint8Array(half.export({ type: 'spki', format: 'der' }))
  return crypto.subtle.importKey('spki', der, signingAlgorithm(half), true, ['verify'])
}
