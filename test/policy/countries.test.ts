/** The country of an address, read from MMDB files as they are made here. */

import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { CountryDatabase, openCountries } from '../../policy/countries.ts'
import { mmdbFile } from './mmdb-file.ts'

const country = (iso_code: string) => ({
  continent: { code: 'EU' },
  country: { iso_code, geoname_id: 7 },
})

const networks = {
  '203.0.113.0/24': country('FR'),
  '198.51.100.128/25': country('DE'),
  '192.0.2.1/32': country('ES'),
  '10.0.0.0/8': { continent: { code: 'EU' } },
  '192.88.99.0/24': { country_code: 'it' },
  '233.252.0.0/24': { country: 'PT' },
  '2001:db8::/32': country('SE'),
}

describe.each([24, 28, 32] as const)('a database with records of %i bits', recordBits => {
  const database = new CountryDatabase(mmdbFile({ networks, recordBits }))

  test.each([
    ['203.0.113.0', 'FR'],
    ['203.0.113.255', 'FR'],
    ['203.0.114.0', null],
    ['198.51.100.127', null],
    ['198.51.100.128', 'DE'],
    ['192.0.2.1', 'ES'],
    ['192.0.2.2', null],
    ['10.1.2.3', null],
    ['192.88.99.7', 'IT'],
    ['233.252.0.9', 'PT'],
    ['::ffff:203.0.113.9', 'FR'],
    ['2001:db8::1', 'SE'],
    ['2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', 'SE'],
    ['2001:db9::1', null],
    ['::1', null],
    ['nonsense', null],
    ['', null],
  ])('says of %s: %j', (address, expected) => {
    expect(database.countryOf(address)).toBe(expected)
  })
})

test('a database of IPv4 alone knows no IPv6', () => {
  const { '2001:db8::/32': _, ...v4 } = networks
  const database = new CountryDatabase(mmdbFile({ networks: v4, ipVersion: 4 }))
  expect(database.countryOf('203.0.113.9')).toBe('FR')
  expect(database.countryOf('2001:db8::1')).toBeNull()
})

test.each([
  ['no MMDB file', Buffer.from('hello')],
  ['cut off', mmdbFile({ networks }).subarray(0, -200)],
])('a file that is %s is refused', (_, bytes) => {
  expect(() => new CountryDatabase(bytes)).toThrow(/MMDB/)
})

test('without a file no country can be told', () => {
  using countries = openCountries(undefined, createLogger('test', 'silent'))
  expect(countries.of('203.0.113.9')).toBeUndefined()
})

test('a file that is not there is refused with the variable that names it', () => {
  const open = () => openCountries('/nowhere.mmdb', createLogger('test', 'silent'))
  expect(open).toThrow(
    'SALLYPORT_POLICY_COUNTRY_DATABASE_PATH: /nowhere.mmdb cannot be used (ENOENT)',
  )
})

test('a file that has changed is read again, and one that is damaged leaves the former in use', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-mmdb-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'country.mmdb')
  const at = async (bytes: Buffer, minute: number) => {
    await writeFile(file, bytes)
    const time = new Date(2026, 0, 1, 0, minute)
    await utimes(file, time, time)
  }
  await at(mmdbFile({ networks }), 1)
  using countries = openCountries(file, createLogger('test', 'silent'), 5)
  expect(countries.of('203.0.113.9')).toBe('FR')
  await at(mmdbFile({ networks: { '203.0.113.0/24': country('CH') } }), 2)
  await expect.poll(() => countries.of('203.0.113.9'), { interval: 5 }).toBe('CH')
  await at(Buffer.from('nonsense'), 3)
  await at(mmdbFile({ networks: { '198.51.100.0/24': country('CH') } }), 4)
  await expect.poll(() => countries.of('198.51.100.1'), { interval: 5 }).toBe('CH')
})
