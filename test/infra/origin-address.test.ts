/** Which addresses are never dialled, in every spelling that a resolver or an administrator may give. */

import { describe, expect, test } from 'vitest'
import { addressKind, reasonAgainstHost } from '#infra/origin-address.ts'

describe('an address is recognized as', () => {
  test.each([
    ['cloud metadata', '169.254.169.254'],
    ['cloud metadata', 'fd00:ec2::254'],
    ['cloud metadata', 'fd00:0ec2:0:0:0:0:0:254'],
    ['cloud metadata', 'fd20:ce::254'],
    ['cloud metadata', '168.63.129.16'],
    ['cloud metadata', '100.100.100.200'],
    ['link-local', '169.254.0.1'],
    ['link-local', '169.254.255.255'],
    ['link-local', 'fe80::1'],
    ['link-local', 'fe80::1%eth0'],
    ['link-local', 'febf:ffff::1'],
    ['unspecified', '0.0.0.0'],
    ['unspecified', '0.1.2.3'],
    ['unspecified', '::'],
    ['multicast', '224.0.0.1'],
    ['multicast', '239.255.255.255'],
    ['multicast', 'ff02::1'],
    ['broadcast', '255.255.255.255'],
    ['loopback', '127.0.0.1'],
    ['loopback', '127.255.0.1'],
    ['loopback', '::1'],
  ])('%s: %s', (kind, address) => {
    expect(addressKind(address)).toBe(kind)
  })

  test.each([
    ['mapped', '::ffff:169.254.169.254'],
    ['mapped, in hex', '::ffff:a9fe:a9fe'],
    ['compatible', '::169.254.169.254'],
    ['translated (NAT64)', '64:ff9b::a9fe:a9fe'],
    ['tunnelled (6to4)', '2002:a9fe:a9fe::1'],
  ])('that of IPv4 which is %s in one of IPv6', (_, address) => {
    expect(addressKind(address)).toBe('cloud metadata')
    expect(addressKind('::ffff:127.0.0.1')).toBe('loopback')
  })

  test.each(['10.0.0.1', '192.168.255.255', '172.16.0.1', '100.64.0.1', '169.253.0.1'])(
    'none of these: %s of IPv4',
    address => expect(addressKind(address)).toBeUndefined(),
  )

  test.each(['fd00::1', '2001:db8::1', 'fec0::1', '::ffff:10.0.0.1', 'fd00:ec2::253'])(
    'none of these: %s of IPv6',
    address => expect(addressKind(address)).toBeUndefined(),
  )
})

describe('a host of an internal URL', () => {
  const hostOf = (url: string) => new URL(url).hostname

  test.each([
    'http://169.254.169.254/',
    'http://169.254.169.254./',
    'http://0xa9fea9fe/',
    'http://2852039166/',
    'http://0251.0376.0251.0376/',
    'http://[fd00:ec2::254]/',
    'http://[::ffff:169.254.169.254]/',
    'http://[fe80::1]/',
    'http://0/',
    'http://255.255.255.255/',
    'http://metadata.google.internal/',
    'http://METADATA.google.internal./',
    'http://instance-data/',
  ])('is refused in %s', url => {
    expect(reasonAgainstHost(hostOf(url))).toBeTypeOf('string')
  })

  test.each(['http://127.0.0.1/', 'http://[::1]/', 'http://localhost/', 'http://wiki.internal/'])(
    'is left to the connector in %s',
    url => expect(reasonAgainstHost(hostOf(url))).toBeUndefined(),
  )
})
