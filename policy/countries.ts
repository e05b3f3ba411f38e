/**
 * The country of an address, out of an MMDB file (MaxMind DB format 2.0; GeoLite2, DB-IP and others come in it). Only
 * what that needs is read: the search tree, and the country of the record that it leads to. The file is looked at every
 * few seconds and read again when it has changed; one that cannot be read leaves the former one in use.
 */

import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import { ConfigurationError } from '#infra/config.ts'
import type { Logger } from '#infra/log.ts'
import type { CountryOf } from './places.ts'

const lookEveryMs = 5_000

export interface Countries extends Disposable {
  readonly of: CountryOf
}

/** @throws ConfigurationError when the file cannot be read at the start. */
export function openCountries(
  file: string | undefined,
  log: Logger,
  everyMs = lookEveryMs,
): Countries {
  if (file === undefined) return { of: () => undefined, [Symbol.dispose]: () => undefined }
  let database = firstOf(file)
  let readAt = changedAt(file)
  const timer = setInterval(() => {
    const changed = changedAt(file)
    if (changed === readAt) return
    readAt = changed
    try {
      database = new CountryDatabase(readFileSync(file))
    } catch (error) {
      log.error({ error, file }, 'the country database cannot be read, the former one stays in use')
    }
  }, everyMs).unref()
  return {
    of: address => database.countryOf(address),
    [Symbol.dispose]: () => clearInterval(timer),
  }
}

function firstOf(file: string): CountryDatabase {
  try {
    return new CountryDatabase(readFileSync(file))
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new ConfigurationError(
      `SALLYPORT_POLICY_COUNTRY_DATABASE_PATH: ${file} cannot be used (${code ?? message})`,
      { cause: error },
    )
  }
}

function changedAt(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

const metadataMark = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1')
const separatorBytes = 16

interface Metadata {
  nodeCount: number
  recordBits: number
  ipVersion: number
}

export class CountryDatabase {
  readonly #bytes: Buffer
  readonly #metadata: Metadata
  readonly #treeBytes: number
  /** Where IPv4 begins in a tree for IPv6. */
  readonly #ipv4Node: number

  /** @throws Error for what is no MMDB file. */
  constructor(bytes: Buffer) {
    const mark = bytes.lastIndexOf(metadataMark)
    if (mark === -1) throw new Error('this is no MMDB file')
    this.#bytes = bytes
    this.#metadata = metadataOf(new Decoder(bytes.subarray(mark + metadataMark.length)).at(0))
    this.#treeBytes = (this.#metadata.nodeCount * this.#metadata.recordBits) / 4
    this.#ipv4Node = this.#metadata.ipVersion === 4 ? 0 : this.#walk(0, new Uint8Array(12))
  }

  /** Null for an address that belongs to no country. */
  countryOf(address: string): string | null {
    const bits = bytesOf(address)
    if (!bits) return null
    const isV4 = bits.length === 4
    if (!isV4 && this.#metadata.ipVersion === 4) return null
    const found = this.#walk(isV4 ? this.#ipv4Node : 0, bits)
    const { nodeCount } = this.#metadata
    if (found <= nodeCount) return null
    const start = this.#treeBytes + separatorBytes
    const decoder = new Decoder(this.#bytes.subarray(start))
    return isoCode(decoder.at(found - nodeCount - separatorBytes))
  }

  /** The node or record that these bits lead to. */
  #walk(from: number, bits: Uint8Array): number {
    const { nodeCount } = this.#metadata
    let node = from
    for (let index = 0; index < bits.length * 8 && node < nodeCount; index++) {
      const bit = ((bits[index >> 3] ?? 0) >> (7 - (index & 7))) & 1
      node = this.#record(node, bit)
    }
    return node
  }

  #record(node: number, side: number): number {
    const { recordBits } = this.#metadata
    const at = (node * recordBits) / 4
    if (recordBits === 24) return this.#bytes.readUIntBE(at + side * 3, 3)
    if (recordBits === 32) return this.#bytes.readUInt32BE(at + side * 4)
    const shared = this.#bytes.readUInt8(at + 3)
    const high = side === 0 ? shared >> 4 : shared & 0x0f
    return high * 2 ** 24 + this.#bytes.readUIntBE(at + side * 4, 3)
  }
}

function metadataOf(value: unknown): Metadata {
  const field = (name: string) => Number(Reflect.get(Object(value), name))
  const metadata = {
    nodeCount: field('node_count'),
    recordBits: field('record_size'),
    ipVersion: field('ip_version'),
  }
  const isKnown = [24, 28, 32].includes(metadata.recordBits) && [4, 6].includes(metadata.ipVersion)
  if (!isKnown || !Number.isSafeInteger(metadata.nodeCount)) {
    throw new Error('the MMDB file is of a form that is not known here')
  }
  return metadata
}

/** `country.iso_code` as MaxMind writes it, `country_code` or `country` as others do. */
function isoCode(record: unknown): string | null {
  const { country, country_code: plain } = Object(record)
  const code = typeof country === 'object' ? Reflect.get(Object(country), 'iso_code') : country
  const found = code ?? plain
  return typeof found === 'string' && /^[A-Za-z]{2}$/.test(found) ? found.toUpperCase() : null
}

/** 4 or 16 octets; IPv4 that is written as IPv6 is IPv4. */
function bytesOf(address: string): Uint8Array | undefined {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  const family = isIP(plain)
  if (family === 4) return Uint8Array.from(plain.split('.').map(Number))
  if (family !== 6) return undefined
  const [head = '', tail] = plain.replace(/%.*$/, '').split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':').flatMap(hextets))
  const first = groups(head)
  const last = tail === undefined ? [] : groups(tail)
  const middle = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => 0)
  return Uint8Array.from([...first, ...middle, ...last].flatMap(group => [group >> 8, group & 255]))
}

function hextets(text: string): number[] {
  if (!text.includes('.')) return [Number.parseInt(text, 16)]
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number)
  return [a * 256 + b, c * 256 + d]
}

const maxDepth = 16

/** The data section's own encoding: a control byte with type and size, then the value. */
class Decoder {
  readonly #bytes: Buffer
  #place = 0
  #depth = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  at(place: number): unknown {
    this.#place = place
    return this.#value()
  }

  #value(): unknown {
    if (++this.#depth > maxDepth) throw new Error('the MMDB file is damaged')
    const value = this.#decode()
    this.#depth--
    return value
  }

  #decode(): unknown {
    const control = this.#number(1)
    const type = control >> 5
    if (type === 1) return this.#pointer(control)
    const kind = type === 0 ? this.#number(1) + 7 : type
    const size = this.#size(control & 0x1f)
    switch (kind) {
      case 2:
        return this.#take(size).toString('utf8')
      case 5:
      case 6:
      case 9:
        return size > 6 ? this.#take(size).toString('hex') : this.#number(size)
      case 7:
        return this.#map(size)
      case 11:
        return Array.from({ length: size }, () => this.#value())
      case 14:
        return size === 1
      default:
        return void this.#take(size)
    }
  }

  #map(size: number): object {
    const entries: [string, unknown][] = []
    for (let index = 0; index < size; index++) entries.push([String(this.#value()), this.#value()])
    return Object.fromEntries(entries)
  }

  #pointer(control: number): unknown {
    const form = (control >> 3) & 3
    const high = form === 3 ? 0 : control & 7
    const offset = [0, 2_048, 526_336, 0][form] ?? 0
    const target = high * 2 ** (8 * (form + 1)) + this.#number(form + 1) + offset
    const back = this.#place
    const value = this.at(target)
    this.#place = back
    return value
  }

  #size(size: number): number {
    if (size < 29) return size
    const extra = size - 28
    return this.#number(extra) + ([29, 285, 65_821][extra - 1] ?? 0)
  }

  #number(size: number): number {
    return size === 0 ? 0 : this.#take(size).readUIntBE(0, size)
  }

  #take(size: number): Buffer {
    const end = this.#place + size
    if (end > this.#bytes.length) throw new Error('the MMDB file is damaged')
    const taken = this.#bytes.subarray(this.#place, end)
    this.#place = end
    return taken
  }
}
