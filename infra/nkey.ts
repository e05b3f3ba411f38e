/**
 * NATS keys: Ed25519 seeds and public keys in the text form that nats-server reads (base32 of a prefix, the octets and
 * a checksum). Signing is Node's own: the client library's is written in JavaScript and ten times slower, which decides
 * how many connectors can come back at once.
 */

import {
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'

/** First octet of a public key, which makes its first letter: a user, an account, a curve key (for encryption). */
const prefixes = { user: 20 << 3, account: 0, curve: 23 << 3 } as const
export type NkeyKind = keyof typeof prefixes

const seedPrefix = 18 << 3
const rawBytes = 32
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** What RFC 8410 puts before the octets of a key. */
const pkcs8Before = Buffer.from('302e020100300506032b657004220420', 'hex')
const spkiBefore = Buffer.from('302a300506032b6570032100', 'hex')

/** A seed is the secret; begins with `SU` for a user. */
export function createSeed(kind: NkeyKind): string {
  return seedOf(kind, randomBytes(rawBytes))
}

/** Always the same seed for the same secret and purpose, and of no use to guess the secret. */
export function deriveSeed(secret: string, kind: NkeyKind, purpose: string): string {
  const raw = hkdfSync('sha256', readSeed(secret).raw, '', `sallyport ${purpose}`, rawBytes)
  return seedOf(kind, Buffer.from(raw))
}

export function isUserSeed(text: string): boolean {
  return /^SU[A-Z2-7]{56}$/.test(text)
}

export interface Signer {
  readonly publicKey: string
  sign(data: Buffer): Buffer
}

/** For a user's or an account's seed. */
export function signerOf(seed: string): Signer {
  const { kind, raw } = readSeed(seed)
  const der = Buffer.concat([pkcs8Before, raw])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return {
    publicKey: encodePublic(kind, createPublicKey(key)),
    sign: data => sign(null, data, key),
  }
}

/** The secret's octets, for what is not signing. */
export function seedOctets(seed: string): Buffer {
  return readSeed(seed).raw
}

/** A public key's octets, of whatever kind. */
export function publicOctets(publicKey: string): Buffer {
  const octets = decode(publicKey)
  if (octets.length !== rawBytes + 1) throw new Error('not a public NATS key')
  return octets.subarray(1)
}

/** Whether the holder of this public key, of whatever kind, has signed it. */
export function isSignedBy(publicKey: string, data: Buffer, signature: Buffer): boolean {
  const raw = publicOctets(publicKey)
  const der = Buffer.concat([spkiBefore, raw])
  return verify(null, data, createPublicKey({ key: der, format: 'der', type: 'spki' }), signature)
}

function encodePublic(kind: NkeyKind, key: KeyObject): string {
  const raw = key.export({ format: 'der', type: 'spki' }).subarray(-rawBytes)
  return encode(Buffer.concat([Buffer.from([prefixes[kind]]), raw]))
}

function seedOf(kind: NkeyKind, raw: Buffer): string {
  const prefix = prefixes[kind]
  // The kind's five bits lie across the two octets, so that both letters tell something.
  return encode(Buffer.concat([Buffer.from([seedPrefix | (prefix >> 5), (prefix & 31) << 3]), raw]))
}

function readSeed(seed: string): { kind: NkeyKind; raw: Buffer } {
  const octets = decode(seed)
  const [first = 0, second = 0] = octets
  const prefix = ((first & 7) << 5) | (second >> 3)
  const kind = (Object.keys(prefixes) as NkeyKind[]).find(name => prefixes[name] === prefix)
  if ((first & 0xf8) !== seedPrefix || !kind || octets.length !== rawBytes + 2)
    throw new Error('not a seed of a NATS key')
  return { kind, raw: octets.subarray(2) }
}

function encode(octets: Buffer): string {
  const whole = Buffer.concat([octets, checksum(octets)])
  let text = ''
  let value = 0
  let bits = 0
  for (const octet of whole) {
    value = (value << 8) | octet
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >> (bits - 5)) & 31]
    value &= (1 << bits) - 1
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text
}

function decode(text: string): Buffer {
  const octets: number[] = []
  let value = 0
  let bits = 0
  for (const letter of text) {
    const digit = alphabet.indexOf(letter)
    if (digit < 0) throw new Error('not a NATS key')
    value = (value << 5) | digit
    bits += 5
    if (bits < 8) continue
    bits -= 8
    octets.push(value >> bits)
    value &= (1 << bits) - 1
  }
  const whole = Buffer.from(octets)
  const body = whole.subarray(0, -2)
  if (!checksum(body).equals(whole.subarray(-2)))
    throw new Error('a NATS key with a wrong checksum')
  return body
}

/** CRC-16/XMODEM, low octet first. */
function checksum(octets: Buffer): Buffer {
  let crc = 0
  for (const octet of octets) {
    crc ^= octet << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
    crc &= 0xffff
  }
  return Buffer.from([crc & 0xff, crc >> 8])
}
