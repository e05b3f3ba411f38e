/** The folder of secrets for a deployment, as infra/deploy/prepare.ts writes it. */

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { prepare } from '#infra/deploy/prepare.ts'
import { findNatsServer } from '#infra/embedded/nats-binary.ts'
import { busRoles } from '#infra/permissions.ts'
import { binary } from '../harness/nats.ts'

const nodes = ['nats-1', 'nats-2', 'nats-3']

async function prepared(): Promise<AsyncDisposable & { folder: string }> {
  const parent = await mkdtemp(join(tmpdir(), 'sallyport-prepare-'))
  const folder = join(parent, 'secrets')
  await prepare(folder, nodes)
  return { folder, [Symbol.asyncDispose]: () => rm(parent, { recursive: true }) }
}

async function contents(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder)
  const read = names.map(async name => [name, await readFile(join(folder, name), 'utf8')])
  return Object.fromEntries(await Promise.all(read))
}

test('the configuration of the nodes is one that nats-server takes', async () => {
  await using secrets = await prepared()
  const server = await findNatsServer(binary)
  const check = promisify(execFile)(server, ['--config', join(secrets.folder, 'nats.conf'), '-t'])
  expect((await check).stderr).toMatch(/is valid/)
})

test('each role has a URL that names every node and the password in the configuration', async () => {
  await using secrets = await prepared()
  const files = await contents(secrets.folder)
  for (const role of busRoles) {
    const urls =
      files[`${role}-bus-url`]
        ?.trim()
        .split(',')
        .map(url => new URL(url)) ?? []
    expect(urls.map(url => url.hostname)).toEqual(nodes)
    expect(urls.map(url => url.username)).toEqual([role, role, role])
    expect(files['nats.conf']).toContain(JSON.stringify(urls[0]?.password))
  }
})

test('what is there is kept, so that running services still fit after an upgrade', async () => {
  await using secrets = await prepared()
  const before = await contents(secrets.folder)
  await prepare(secrets.folder, nodes)
  expect(await contents(secrets.folder)).toEqual(before)
})

test('only the owner can enter the folder', async () => {
  await using secrets = await prepared()
  expect((await stat(secrets.folder)).mode & 0o777).toBe(0o700)
})
