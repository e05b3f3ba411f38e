/** Writes MMDB files (MaxMind DB format 2.0) as the tests of countries need them. */

import { isIP } from 'node:net'

export interface MmdbOptions {
  /** Network in CIDR form → record. */
  networks: Record<string, object>
  ipVersion?: 4 | 6
  recordBits?: 24 | 28 | 32
}

type Node = [Node | number | undefined, Node | number | undefined]

export function mmdbFile({ networks, ipVersion = 6, recordBits = 24 }: MmdbOptions): Buffer {
  const data: Buffer[] = []
  let dataBytes = 0
  const root: Node = [undefined, undefined]
  for (const [network, record] of Object.entries(networks)) {
    const encoded = encode(record)
    insert(root, bitsOf(network, ipVersion), dataBytes)
    data.push(encoded)
    dataBytes += encoded.length
  }
  const nodes: Node[] = []
  const number = (node: Node): void => {
    nodes.push(node)
    for (const child of node) if (Array.isArray(child)) number(child)
  }
  number(root)
  const places = new Map(nodes.map((node, index) => [node, index]))
  const value = (child: Node[0]): number => {
    if (child === undefined) return nodes.length
    return typeof child === 'number' ? nodes.length + 16 + child : (places.get(child) ?? 0)
  }
  const tree = Buffer.concat(
    nodes.map(([left, right]) => nodeBytes(value(left), value(right), recordBits)),
  )
  const metadata = encode({
    node_count: nodes.length,
    record_size: recordBits,
    ip_version: ipVersion,
    database_type: 'Test-Country',
    languages: ['en'],
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_767_225_600,
    description: { en: 'x'.repeat(300) },
  })
  const mark = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1')
  return Buffer.concat([tree, Buffer.alloc(16), ...data, mark, metadata])
}

function insert(root: Node, bits: number[], place: number): void {
  let node = root
  for (const [index, bit] of bits.entries()) {
    if (index === bits.length - 1) {
      node[bit] = place
      return
    }
    const next = node[bit]
    if (Array.isArray(next)) node = next
    else {
      const made: Node = [undefined, undefined]
      node[bit] = made
      node = made
    }
  }
}

function bitsOf(network: string, ipVersion: 4 | 6): number[] {
  const [address = '', length = ''] = network.split('/')
  const isV4 = isIP(address) === 4
  const octets = isV4 ? address.split('.').map(Number) : v6Octets(address)
  const bits = octets.flatMap(octet => [7, 6, 5, 4, 3, 2, 1, 0].map(place => (octet >> place) & 1))
  const own = bits.slice(0, Number(length))
  return isV4 && ipVersion === 6 ? [...Array<number>(96).fill(0), ...own] : own
}

function v6Octets(address: string): number[] {
  const [head = '', tail = ''] = address.split('::')
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map(group => Number.parseInt(group, 16))
  const [first, last] = [groups(head), groups(tail)]
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
  return all.flatMap(group => [group >> 8, group & 255])
}

function nodeBytes(left: number, right: number, recordBits: number): Buffer {
  const node = Buffer.alloc(recordBits / 4)
  if (recordBits === 24) {
    node.writeUIntBE(left, 0, 3)
    node.writeUIntBE(right, 3, 3)
  } else if (recordBits === 32) {
    node.writeUInt32BE(left, 0)
    node.writeUInt32BE(right, 4)
  } else {
    node.writeUIntBE(left % 2 ** 24, 0, 3)
    node.writeUInt8((Math.floor(left / 2 ** 24) << 4) | Math.floor(right / 2 ** 24), 3)
    node.writeUIntBE(right % 2 ** 24, 4, 3)
  }
  return node
}

function encode(value: unknown): Buffer {
  if (typeof value === 'string')
    return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)])
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return Buffer.concat([control(6, 4), bytes])
  }
  if (typeof value === 'boolean') return control(14, value ? 1 : 0)
  if (Array.isArray(value)) return Buffer.concat([control(11, value.length), ...value.map(encode)])
  const entries = Object.entries(value as object)
  return Buffer.concat([control(7, entries.length), ...entries.flatMap(pair => pair.map(encode))])
}

function control(type: number, size: number): Buffer {
  const extended = type > 7
  const [short, more] =
    size < 29
      ? [size, []]
      : size < 285
        ? [29, [size - 29]]
        : [30, [(size - 285) >> 8, (size - 285) & 255]]
  const first = ((extended ? 0 : type) << 5) | Number(short)
  return Buffer.from([first, ...(extended ? [type - 7] : []), ...(more as number[])])
}
