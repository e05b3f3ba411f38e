/** All connectors lose the bus at one moment and come back, each asked for by the one registry. */

import { type ChildProcess, fork } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Kvm } from '@nats-io/kv'
import { expect, test } from 'vitest'
import { type Authority, keepAuthority } from '#infra/authority.ts'
import { connectBus } from '#infra/bus.ts'
import { pinOf } from '#infra/certificates.ts'
import { readConfig } from '#infra/config.ts'
import { Connector, defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { keepNatsServer } from '#infra/embedded/kept-nats-server.ts'
import { createLogger } from '#infra/log.ts'
import { chainPem, createConnectorCertificate, createKey, keyPem } from '#infra/pki.ts'
import { buckets } from '#infra/subjects.ts'
import { RegistryConfig } from '../../registry/config.ts'
import { startRegistry } from '../../registry/registry.ts'
import { binary } from '../harness/nats.ts'

const connectors = 500
const processes = 5
const backWithinMs = 60_000

const program = fileURLToPath(new URL('../harness/storm-process.ts', import.meta.url))
const log = createLogger('test', 'silent')

test(`${connectors} connectors are back within a minute of a restart of the bus`, async () => {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-storm-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const authorityPath = join(folder, 'authority')
  const authority = await keepAuthority(authorityPath, { busNames: ['127.0.0.1'] })
  const storeDirectory = join(folder, 'bus')
  const nats = stack.use(
    await keepNatsServer({ storeDirectory, binary, authority: authorityPath, log }),
  )
  stack.use(
    await startRegistry(
      readConfig(RegistryConfig, {
        SALLYPORT_BUS_URL: nats.urlFor('registry'),
        SALLYPORT_BUS_CA_PATH: nats.caPath,
        SALLYPORT_LOG_LEVEL: 'silent',
        SALLYPORT_REGISTRY_SYSTEM_BUS_URL: nats.urlFor('system'),
        SALLYPORT_REGISTRY_CALLOUT_BUS_URL: nats.urlFor('callout'),
        SALLYPORT_REGISTRY_AUTHORITY_PATH: authorityPath,
        SALLYPORT_REGISTRY_PORT: '0',
        SALLYPORT_REGISTRY_ADMIN_TOKEN: 'x'.repeat(24),
      }),
    ),
  )
  const bus = stack.use(await connectBus({ ...nats.addressFor('registry'), role: 'registry', log }))
  const records = await new Kvm(bus.connection).open(buckets.connectors)
  const folders: string[] = []
  for (let number = 0; number < connectors; number++) {
    const { identity, record } = await certified(authority, join(folder, `c-${number}`), number)
    await records.put(record.id, JSON.stringify(record))
    folders.push(identity)
  }
  const children = await Promise.all(
    Array.from({ length: processes }, (_, index) => {
      const own = folders.filter((_, number) => number % processes === index)
      return startProcess(nats.web?.url ?? '', own)
    }),
  )
  stack.defer(async () => {
    for (const child of children) {
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    }
  })
  expect((await stateOf(children)).up).toBe(connectors)

  await nats.kill()
  await expect.poll(async () => (await stateOf(children)).up, { timeout: 30_000 }).toBe(0)
  await nats.start()
  const startedMs = Date.now()
  await expect
    .poll(async () => (await stateOf(children)).up, { timeout: 2 * backWithinMs, interval: 250 })
    .toBe(connectors)
  const { lastMs } = await stateOf(children)
  process.stdout.write(`the last of ${connectors} was back after ${lastMs - startedMs} ms\n`)
  expect(lastMs - startedMs).toBeLessThan(backWithinMs)
})

async function certified(authority: Authority, identity: string, number: number) {
  const id = `c-${number}`
  const key = createKey()
  const certificate = await createConnectorCertificate(authority.connectors, {
    connectorId: id,
    trustDomain: authority.trustDomain,
    publicKey: createPublicKey(key),
    days: 1,
    nowMs: Date.now(),
  })
  await mkdir(identity, { recursive: true })
  await writeFile(join(identity, 'key.pem'), keyPem(key))
  await writeFile(
    join(identity, 'certificate.pem'),
    chainPem([certificate, authority.connectors.certificate, authority.root]),
  )
  await writeFile(join(identity, 'authority.pem'), chainPem([authority.root]))
  const listed = {
    serialNumber: certificate.serialNumber,
    spki: pinOf(certificate),
    notAfter: certificate.validToDate.toISOString(),
  }
  const record = Connector.parse({
    id,
    connectorGroupId: defaultConnectorGroupId,
    certificates: [listed],
    machineName: 'test',
    version: '1',
    status: 'inactive',
    lastSeenDateTime: new Date().toISOString(),
  })
  return { identity, record }
}

async function startProcess(url: string, folders: readonly string[]): Promise<ChildProcess> {
  const child = fork(program, [url, ...folders], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await once(child, 'message')
  return child
}

interface State {
  up: number
  lastMs: number
}

/** All of them together. */
async function stateOf(children: readonly ChildProcess[]): Promise<State> {
  const states = await Promise.all(
    children.map(async child => {
      const answer = once(child, 'message')
      child.send('state')
      const [state] = await answer
      return state as State
    }),
  )
  return {
    up: states.reduce((sum, { up }) => sum + up, 0),
    lastMs: Math.max(...states.map(({ lastMs }) => lastMs)),
  }
}
