/** The folder of secrets for a deployment, as infra/deploy/prepare.ts writes it. */

import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { prepare } from '#infra/deploy/prepare.ts'
import { findNatsServer } from '#infra/embedded/nats-binary.ts'
import { signerOf } from '#infra/nkey.ts'
import { busRoles } from '#infra/permissions.ts'
import { binary } from '../harness/nats.ts'
import { runProgram } from '../harness/programs.ts'

const nodes = ['nats-1', 'nats-2', 'nats-3']

async function prepared(): Promise<AsyncDisposable & { folder: string }> {
  const parent = await mkdtemp(join(tmpdir(), 'sallyport-prepare-'))
  const folder = join(parent, 'secrets')
  await prepare(folder, { nodes, names: ['bus.example.com'] })
  return { folder, [Symbol.asyncDispose]: () => rm(parent, { recursive: true }) }
}

async function contents(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const names = entries
    .filter(entry => entry.isFile())
    .map(({ parentPath, name }) => relative(folder, join(parentPath, name)))
  const read = names.map(async name => [name, await readFile(join(folder, name), 'utf8')])
  return Object.fromEntries(await Promise.all(read))
}

test('the configuration of the nodes is one that nats-server takes', async () => {
  await using secrets = await prepared()
  const server = await findNatsServer(binary)
  // Its certificates stand elsewhere in the containers.
  const text = await readFile(join(secrets.folder, 'nats.conf'), 'utf8')
  const config = join(secrets.folder, 'here.conf')
  await writeFile(config, text.replaceAll('/run/authority', join(secrets.folder, 'authority')))
  const check = promisify(execFile)(server, ['--config', config, '-t'])
  expect((await check).stderr).toMatch(/is valid/)
})

test('each role has a URL that names every node, and its key alone is in the configuration', async () => {
  await using secrets = await prepared()
  const files = await contents(secrets.folder)
  for (const role of busRoles.filter(one => one !== 'connector')) {
    const urls =
      files[`${role}-bus-url`]
        ?.trim()
        .split(',')
        .map(url => new URL(url)) ?? []
    expect(urls.map(url => url.host)).toEqual(nodes.map(node => `${node}:4222`))
    const [seed = ''] = urls.map(url => url.username)
    expect(urls.map(url => url.protocol)).toEqual(['tls:', 'tls:', 'tls:'])
    expect(files['nats.conf']).toContain(JSON.stringify(signerOf(seed).publicKey))
    expect(files['nats.conf']).not.toContain(seed)
  }
  expect(files['connector-bus-url']).toBeUndefined()
})

test('the bus has a certificate for its nodes and for the name that connectors use', async () => {
  await using secrets = await prepared()
  const pem = await readFile(join(secrets.folder, 'authority/bus.pem'), 'utf8')
  const certificate = new X509Certificate(pem)
  for (const name of [...nodes, 'bus.example.com']) expect(certificate.checkHost(name)).toBe(name)
  expect(certificate.checkHost('elsewhere.example.com')).toBeUndefined()
})

test('what is there is kept, so that running services still fit after an upgrade', async () => {
  await using secrets = await prepared()
  const before = await contents(secrets.folder)
  await prepare(secrets.folder, { nodes, names: ['bus.example.com'] })
  expect(await contents(secrets.folder)).toEqual(before)
})

test('only the owner can enter the folder', async () => {
  await using secrets = await prepared()
  expect((await stat(secrets.folder)).mode & 0o777).toBe(0o700)
})

test.each([
  [['--frob'], "Unknown option '--frob'"],
  [['--name', 'https://bus.example.com'], '"https://bus.example.com" is no host name'],
])('a wrong call says how it is called, and writes nothing: %j', async (words, reason) => {
  const folder = join(tmpdir(), 'sallyport-never-written')
  const called = runProgram(process.execPath, ['infra/deploy/prepare.ts', ...words, folder])
  const { code, errors } = await called
  expect([code, errors]).toEqual([2, expect.stringContaining(reason)])
  expect(errors).toContain('prepare.ts [--name bus.example.com…] [folder [node…]]')
  expect(existsSync(folder)).toBe(false)
})
