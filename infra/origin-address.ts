/**
 * Addresses that no internal URL may lead to: they are not an application's, and the machine that dials them gives away
 * its own secrets (cloud metadata) or speaks to many. Registry refuses them in internal URLs; connectors judge every
 * address that a name resolves to. Loopback is a kind of its own: an application beside its connector has it.
 */

import { BlockList, isIP } from 'node:net'

export type AddressKind =
  | 'link-local'
  | 'cloud metadata'
  | 'unspecified'
  | 'multicast'
  | 'broadcast'
  | 'loopback'

/** In the order in which they are looked for: what is two of them is called by the first. */
const ranges: readonly (readonly [AddressKind, readonly string[]])[] = [
  [
    'cloud metadata',
    [
      // AWS, Azure, Google Cloud and most others; Azure's host; Alibaba Cloud; Oracle Cloud, the older one
      ...['169.254.169.254/32', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32'],
      // AWS, Google Cloud and Scaleway over IPv6
      ...['fd00:ec2::254/128', 'fd20:ce::254/128', 'fd00:42::42/128'],
    ],
  ],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  // All of 0.0.0.0/8: systems take parts of it for this host (RFC 1122 §3.2.1.3).
  ['unspecified', ['0.0.0.0/8', '::/128']],
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['broadcast', ['255.255.255.255/32']],
  ['multicast', ['224.0.0.0/4', 'ff00::/8']],
]

const kinds = ranges.map(([kind, list]) => ({ kind, list: blockList(list) }))

/** Names by which clouds' own resolvers know their metadata service. */
const metadataNames = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'metadata.azure.internal',
  'metadata.tencentyun.com',
  'metadata.platformequinix.com',
  'instance-data',
  'instance-data.ec2.internal',
])

/** Which of the kinds above an IP address is; undefined for every other one. */
export function addressKind(address: string): AddressKind | undefined {
  const plain = address.split('%')[0] as string
  const embedded = isIP(plain) === 6 ? embeddedIpv4(plain) : undefined
  return (embedded === undefined ? undefined : kindOf(embedded)) ?? kindOf(plain)
}

/** Why no internal URL may have this host, as a URL spells it; undefined when it may. Names are not resolved. */
export function reasonAgainstHost(host: string): string | undefined {
  const name = host
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
  if (metadataNames.has(name)) return `${name} is a name of cloud metadata`
  const kind = isIP(name) === 0 ? undefined : addressKind(name)
  return kind === undefined || kind === 'loopback'
    ? undefined
    : `${name} is one of the addresses that are not dialled (${kind})`
}

function kindOf(address: string): AddressKind | undefined {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  return kinds.find(({ list }) => list.check(address, family))?.kind
}

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList()
  for (const subnet of subnets) {
    const [address = '', bits] = subnet.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/** The IPv4 address that systems or gateways make of an IPv6 one: mapped, compatible, NAT64 (RFC 6052), 6to4. */
function embeddedIpv4(address: string): string | undefined {
  const groups = groupsOf(address)
  const begins = (...first: number[]) => first.every((group, i) => groups[i] === group)
  const [sixth = 0, seventh = 0, eighth = 0] = groups.slice(5)
  const isMapped = begins(0, 0, 0, 0, 0) && (sixth === 0xffff || sixth === 0)
  // :: and ::1 are addresses of their own.
  const isItself = isMapped && sixth === 0 && seventh === 0 && eighth <= 1
  if (isItself) return undefined
  if (isMapped || begins(0x64, 0xff9b, 0, 0, 0, 0)) return dotted(seventh, eighth)
  if (begins(0x2002)) return dotted(groups[1] as number, groups[2] as number)
  return undefined
}

/** The eight groups of an IPv6 address in any of its spellings. */
function groupsOf(address: string): number[] {
  // A URL has the one canonical spelling, without dots.
  const { hostname } = new URL(`http://[${address}]/`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const parse = (part: string) =>
    part === '' ? [] : part.split(':').map(it => Number.parseInt(it, 16))
  if (tail === undefined) return parse(head)
  const [before, after] = [parse(head), parse(tail)]
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
