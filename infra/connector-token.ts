/**
 * The one-time token of a connector as text: a prefix and base64url JSON (contracts/enrolment.ts). The registry makes
 * it, the connector reads it and signs with its key; nobody else ever sees it.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { maxTokenChars, TokenContent, tokenPrefix } from './contracts/enrolment.ts'
import { SallyportError } from './errors.ts'

export function encodeToken(content: TokenContent): string {
  return `${tokenPrefix}${Buffer.from(JSON.stringify(content)).toString('base64url')}`
}

/** White space around it is nothing. @throws SallyportError `token_invalid` that says what is wrong. */
export function decodeToken(text: string): TokenContent {
  const token = text.trim()
  if (token === '') throw damaged('there is nothing in it')
  if (token.length > maxTokenChars) throw damaged('it is too long')
  if (!token.startsWith(tokenPrefix)) throw damaged(`it does not begin with "${tokenPrefix}"`)
  const content = TokenContent.safeParse(parse(token.slice(tokenPrefix.length)))
  if (content.success) return content.data
  throw damaged('a part of it is missing or changed')
}

function parse(part: string): unknown {
  const octets = Buffer.from(part, 'base64url')
  if (octets.toString('base64url') !== part)
    throw damaged('it is cut off or has a strange character')
  try {
    return JSON.parse(octets.toString('utf8'))
  } catch (cause) {
    throw damaged('it is cut off or a character of it is changed', cause)
  }
}

function damaged(what: string, cause?: unknown): SallyportError {
  return new SallyportError('token_invalid', `this is not a token of a connector: ${what}`, {
    cause,
  })
}

/** A new key: the seed goes into the token, the public key stays with the registry. */
export function createTokenKey(): { seed: string; publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { seed: octetsOf(privateKey.export({ format: 'jwk' }).d), publicKey: publicOf(publicKey) }
}

/** By the token's key over the DER of a signing request; base64url. */
export function signWithToken(seed: string, der: Buffer): string {
  return sign(null, der, privateKeyOf(seed)).toString('base64url')
}

export function isSignedWithToken(publicKey: string, der: Buffer, signature: string): boolean {
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' })
  return verify(null, der, key, Buffer.from(signature, 'base64url'))
}

/** RFC 8410's frame of a seed. */
const pkcs8Before = Buffer.from('302e020100300506032b657004220420', 'hex')

function privateKeyOf(seed: string): KeyObject {
  const key = Buffer.concat([pkcs8Before, Buffer.from(seed, 'base64url')])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

function publicOf(key: KeyObject): string {
  return octetsOf(key.export({ format: 'jwk' }).x)
}

function octetsOf(value: string | undefined): string {
  if (value === undefined) throw new TypeError('a key without octets')
  return value
}
