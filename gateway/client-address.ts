/** Who the client is: the address of the connection, or what trusted proxies in front of the gateway say of it. */

import { BlockList, isIP } from 'node:net'
import { ownCopy } from '#infra/own-copy.ts'

/** True for an address that belongs to a trusted proxy. */
export type TrustedProxies = (address: string) => boolean

export function trustedProxies(ranges: readonly string[]): TrustedProxies {
  if (ranges.length === 0) return () => false
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', bits] = range.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return address => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

/** An IPv4 address that came over an IPv6 socket, in its own form. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return ''
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

/**
 * What counts as one client: an address, but of IPv6 its network of 64 bits (RFC 4291 §2.5.4). Whoever has one address of
 * such a network has as many as there are.
 */
export function countedAs(address: string): string {
  if (!address.includes(':')) return address
  const [before = '', after] = address.split('::')
  const first = before === '' ? [] : before.split(':')
  const last = after ? after.split(':') : []
  // An IPv4 address at the end stands for two groups.
  const lastGroups = last.length + (last.at(-1)?.includes('.') ? 1 : 0)
  const zeros = after === undefined ? 0 : Math.max(0, 8 - first.length - lastGroups)
  const groups = [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4)
  return `${groups.map(group => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

/**
 * The address farthest to the right of X-Forwarded-For that is not a trusted proxy's. What stands left of it was
 * written by the client and proves nothing.
 */
export function clientAddress(
  peer: string,
  forwardedFor: string | undefined,
  isTrusted: TrustedProxies,
): string {
  if (forwardedFor === undefined || !isTrusted(peer)) return peer
  const chain = forwardedFor.split(',').map(item => plainAddress(item.trim()))
  for (let i = chain.length - 1; i >= 0; i--) {
    const address = chain[i] as string
    if (isIP(address) === 0) return peer
    if (!isTrusted(address)) return ownCopy(address)
  }
  return ownCopy(chain[0] ?? peer)
}
