/** The variables for one more connector: there is always a token that can be used. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { keepNextConnector } from '#infra/embedded/next-connector.ts'
import { createLogger } from '#infra/log.ts'

const log = createLogger('test', 'silent')
let identities: string

beforeEach(async () => {
  identities = await mkdtemp(join(tmpdir(), 'sallyport-identities-'))
  onTestFinished(() => rm(identities, { recursive: true }))
})

async function enrol(name: string): Promise<void> {
  await mkdir(join(identities, name))
  await writeFile(join(identities, name, 'certificate.pem'), '')
}

test('a connector that has enrolled leaves room for the next one', async () => {
  const written: string[] = []
  const write = async (name: string) => void written.push(name)
  await enrol('by-hand-1')
  using _ = await keepNextConnector({ identities, write, log })
  expect(written).toEqual(['by-hand-2'])
  await enrol('by-hand-2')
  await expect.poll(() => written).toEqual(['by-hand-2', 'by-hand-3'])
})

test('a token that could not be made is made as soon as it can be', async () => {
  const written: string[] = []
  let isRegistryAway = false
  const write = async (name: string) => {
    if (isRegistryAway) throw new Error('no registry')
    written.push(name)
  }
  using _ = await keepNextConnector({ identities, write, log })
  isRegistryAway = true
  await enrol('by-hand-1')
  await new Promise(resolve => setTimeout(resolve, 700))
  isRegistryAway = false
  await expect.poll(() => written).toEqual(['by-hand-1', 'by-hand-2'])
})
