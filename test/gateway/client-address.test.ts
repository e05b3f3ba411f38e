/** Whose address counts: only trusted proxies are believed. */

import { expect, test } from 'vitest'
import { clientAddress, countedAs, trustedProxies } from '../../gateway/client-address.ts'

const isTrusted = trustedProxies(['10.0.0.0/8', 'fd00::/8', '192.0.2.1'])

test.each([
  ['without a proxy it is the peer', '203.0.113.9', undefined, '203.0.113.9'],
  ['a client cannot invent one', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
  ['a trusted proxy names its client', '10.1.1.1', '198.51.100.1', '198.51.100.1'],
  [
    'what stands before it was written by the client',
    '10.1.1.1',
    '1.1.1.1, 198.51.100.1',
    '198.51.100.1',
  ],
  [
    'a chain of trusted proxies is followed',
    '10.1.1.1',
    '198.51.100.1, 10.2.2.2, 192.0.2.1',
    '198.51.100.1',
  ],
  ['what is no address proves nothing', '10.1.1.1', 'unknown', '10.1.1.1'],
  ['IPv6 too', 'fd00::1', '2001:db8::7', '2001:db8::7'],
])('%s', (_name, peer, forwardedFor, expected) => {
  expect(clientAddress(peer, forwardedFor, isTrusted)).toBe(expected)
})

test.each([
  ['203.0.113.9', '203.0.113.9'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2:ffff::1', '2001:db8:1:2::/64'],
  ['2001:db8:1:3::1', '2001:db8:1:3::/64'],
  ['2001:DB8:0001:2::', '2001:db8:1:2::/64'],
  ['2001:db8::7', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['1::2:3:4:5:6:7', '1:0:2:3::/64'],
  ['64:ff9b::203.0.113.9', '64:ff9b:0:0::/64'],
  ['1::2:3:4:5:203.0.113.9', '1:0:2:3::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, client) => {
  expect(countedAs(address)).toBe(client)
})
