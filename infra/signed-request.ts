/**
 * What a connector that is not on the bus says of itself: a compact JWS (RFC 7515) by the key of its certificate, which
 * comes along in `x5c`. Whether that certificate is to be trusted is for the registry to find out.
 */

import { type KeyObject, sign, verify, X509Certificate } from 'node:crypto'
import { z } from 'zod'
import { ConnectorStatement, signedRequestType } from './contracts/enrolment.ts'
import { SallyportError } from './errors.ts'

const Header = z.strictObject({
  alg: z.literal('ES256'),
  typ: z.literal(signedRequestType),
  x5c: z.array(z.base64().max(4_096)).length(1),
})

/** As JWS wants signatures on P-256 (RFC 7518 §3.4). */
const dsaEncoding = 'ieee-p1363'

export function signRequest(
  { key, certificate }: { key: KeyObject; certificate: X509Certificate },
  statement: ConnectorStatement,
): string {
  const x5c = [certificate.raw.toString('base64')]
  const content = `${encode({ alg: 'ES256', typ: signedRequestType, x5c })}.${encode(statement)}`
  const signature = sign('sha256', Buffer.from(content), { key, dsaEncoding })
  return `${content}.${signature.toString('base64url')}`
}

export interface ReadRequest {
  /** Of whoever signed; not checked against any authority yet. */
  readonly certificate: X509Certificate
  readonly statement: ConnectorStatement
}

/** @throws SallyportError `bad_request` for anything that is not well signed by the key of its certificate. */
export function readRequest(text: string): ReadRequest {
  const [header = '', payload = '', signature = '', ...more] = text.split('.')
  if (more.length > 0) throw refused('it has too many parts')
  const { x5c } = parse(Header, header)
  const certificate = certificateOf(x5c[0] as string)
  const { publicKey: key } = certificate
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw refused('its key is not on P-256')
  const signed = Buffer.from(`${header}.${payload}`)
  const isSigned = verify(
    'sha256',
    signed,
    { key, dsaEncoding },
    Buffer.from(signature, 'base64url'),
  )
  if (!isSigned) throw refused('its signature is wrong')
  return { certificate, statement: parse(ConnectorStatement, payload) }
}

function certificateOf(base64: string): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(base64, 'base64'))
  } catch (cause) {
    throw refused('its certificate cannot be read', cause)
  }
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function parse<Schema extends z.ZodType>(schema: Schema, part: string): z.output<Schema> {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
  } catch (cause) {
    throw refused('a part of it is not JSON', cause)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw refused(`${result.error.issues[0]?.path.join('.')}: ${result.error.issues[0]?.message}`)
}

function refused(what: string, cause?: unknown): SallyportError {
  return new SallyportError('bad_request', `this is not a signed request: ${what}`, { cause })
}
