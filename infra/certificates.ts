/**
 * Checks certificates: chains up to an anchor that is trusted already, the names of connectors and of the registry in
 * them (SPIFFE), and pins. A pin is the base64url SHA-256 of a public key (SPKI), so it outlives a renewal of the
 * certificate. Whatever is not understood is refused.
 */

import { createHash, X509Certificate } from 'node:crypto'
import { connectorIdPattern } from './contracts/connector.ts'
import { SallyportError } from './errors.ts'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  ParsedCertificate,
  SubjectAlternativeNameExtension,
} from './x509.ts'

/** What a certificate of ours may be for: extended key usages (RFC 5280 §4.2.1.12; documentSigning: RFC 9336). */
export const usages = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
  signing: '1.3.6.1.5.5.7.3.36',
} as const

export interface ChainCheck {
  /** The end first, each signed by the next; the anchor may be the last one or be left out. */
  chain: readonly X509Certificate[]
  /** Trusted: a root, or an intermediate of ours. Its own validity in time is checked too. */
  anchor: X509Certificate
  purpose: keyof typeof usages
  nowMs: number
  /** How long after its end the first certificate of the chain is still taken. */
  graceMs?: number
}

/**
 * @throws SallyportError `certificate_invalid` with what is wrong, or `certificate_expired` when nothing is but that
 * the time of the chain's first certificate is over.
 */
export function checkChain({ chain, anchor, purpose, nowMs, graceMs = 0 }: ChainCheck): void {
  const path = withoutAnchor(chain, anchor)
  const [end] = path
  if (!end) throw invalid('there is no certificate before the anchor')
  if (path.length > maxPath) throw invalid('the chain is too long')
  for (const [depth, certificate] of path.entries()) {
    const issuer = path[depth + 1] ?? anchor
    checkIssuer(issuer, depth)
    checkSignature(certificate, issuer)
    checkPurpose(certificate, purpose)
  }
  if (isAuthority(end)) throw invalid(`${nameOf(end)} is an authority's own certificate`)
  for (const certificate of [...path.slice(1), anchor])
    if (isOver(certificate, nowMs)) throw invalid(`${nameOf(certificate)} has expired`)
  for (const certificate of [...path, anchor]) checkBegin(certificate, nowMs)
  if (isOver(end, nowMs - graceMs)) throw expired(end)
}

const maxPath = 4

function withoutAnchor(
  chain: readonly X509Certificate[],
  anchor: X509Certificate,
): readonly X509Certificate[] {
  const end = chain.findIndex(certificate => certificate.raw.equals(anchor.raw))
  return end < 0 ? chain : chain.slice(0, end)
}

function checkSignature(certificate: X509Certificate, issuer: X509Certificate): void {
  const isSigned = certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  if (!isSigned)
    throw invalid(
      `${nameOf(certificate)} is not signed by ${nameOf(issuer)}: it is of a foreign authority`,
    )
}

/** `below`: authorities between it and the end (RFC 5280 §4.2.1.9). */
function checkIssuer(issuer: X509Certificate, below: number): void {
  const parsed = new ParsedCertificate(issuer.raw)
  const constraints = parsed.getExtension(BasicConstraintsExtension)
  if (!constraints?.ca) throw invalid(`${nameOf(issuer)} may not sign certificates`)
  const { pathLength } = constraints
  if (pathLength !== undefined && below > pathLength)
    throw invalid(`${nameOf(issuer)} may not sign authorities`)
  const use = parsed.getExtension(KeyUsagesExtension)
  if (use && (use.usages & KeyUsageFlags.keyCertSign) === 0)
    throw invalid(`the key of ${nameOf(issuer)} may not sign certificates`)
}

function checkPurpose(certificate: X509Certificate, purpose: keyof typeof usages): void {
  const extension = new ParsedCertificate(certificate.raw).getExtension(ExtendedKeyUsageExtension)
  if (!extension?.usages.includes(usages[purpose]))
    throw invalid(`${nameOf(certificate)} is not for this purpose (${purpose})`)
}

function checkBegin(certificate: X509Certificate, nowMs: number): void {
  const from = certificate.validFromDate
  if (nowMs < from.getTime())
    throw invalid(`${nameOf(certificate)} is valid only from ${from.toISOString()} on`)
}

function isOver({ validToDate }: X509Certificate, nowMs: number): boolean {
  return nowMs > validToDate.getTime()
}

function expired(certificate: X509Certificate): SallyportError {
  const at = certificate.validToDate.toISOString()
  return new SallyportError('certificate_expired', `${nameOf(certificate)} expired at ${at}`)
}

function isAuthority(certificate: X509Certificate): boolean {
  return new ParsedCertificate(certificate.raw).getExtension(BasicConstraintsExtension)?.ca === true
}

function nameOf({ subject }: X509Certificate): string {
  return `the certificate "${subject.replaceAll('\n', ', ')}"`
}

function invalid(detail: string, cause?: unknown): SallyportError {
  return new SallyportError('certificate_invalid', detail, { cause })
}

/** Base64url SHA-256 of the public key. */
export function pinOf({ publicKey }: Pick<X509Certificate, 'publicKey'>): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url')
}

/** The root in a chain that this pin means. @throws SallyportError `certificate_invalid` when there is none. */
export function pinnedRoot(chain: readonly X509Certificate[], pin: string): X509Certificate {
  const root = chain.find(certificate => pinOf(certificate) === pin)
  if (!root) throw invalid('the chain does not end at the authority that the pin names')
  if (!isRoot(root)) throw invalid('the certificate that the pin names is not a root')
  return root
}

/** Whether it signs itself and may sign others. */
export function isRoot(certificate: X509Certificate): boolean {
  return isAuthority(certificate) && certificate.verify(certificate.publicKey)
}

/** Names the installation that an authority stands for: every SPIFFE id of it begins with this. */
export function trustDomainOf(root: X509Certificate): string {
  const digest = createHash('sha256').update(root.publicKey.export({ type: 'spki', format: 'der' }))
  return `sallyport-${digest.digest('hex').slice(0, 16)}`
}

/** The URI that names a connector in its certificate. */
export function spiffeIdOf(trustDomain: string, connectorId: string): string {
  return `spiffe://${trustDomain}/connector/${connectorId}`
}

/** The URI that names the registry in the certificate of its signing key. */
export function registrySpiffeId(trustDomain: string): string {
  return `spiffe://${trustDomain}/registry`
}

/** The one URI of a certificate; undefined when there is none or more than one (X509-SVID §2). */
export function spiffeIdIn(certificate: X509Certificate): string | undefined {
  const parsed = new ParsedCertificate(certificate.raw)
  const names = parsed.getExtension(SubjectAlternativeNameExtension)?.names.items ?? []
  const uris = names.filter(({ type }) => type === 'url')
  return uris.length === 1 ? uris[0]?.value : undefined
}

/**
 * The connector whom a certificate names.
 * @throws SallyportError `certificate_invalid` when it names none of this trust domain.
 */
export function connectorIn(certificate: X509Certificate, trustDomain: string): string {
  const uri = spiffeIdIn(certificate) ?? ''
  const prefix = spiffeIdOf(trustDomain, '')
  const connectorId = uri.startsWith(prefix) ? uri.slice(prefix.length) : ''
  if (connectorIdPattern.test(connectorId)) return connectorId
  throw invalid(`${nameOf(certificate)} names no connector of ${trustDomain}`)
}

const maxChainChars = 64 * 1024

/** Every certificate of a PEM file, in its order. @throws SallyportError `certificate_invalid` for anything else. */
export function readChain(pem: string): X509Certificate[] {
  const blocks = pem.length > maxChainChars ? [] : (pem.match(certificateBlock) ?? [])
  if (blocks.length === 0) throw invalid('this is not a certificate in PEM')
  try {
    return blocks.map(block => new X509Certificate(block))
  } catch (error) {
    throw invalid('a certificate cannot be read', error)
  }
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g
