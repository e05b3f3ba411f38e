/** More of each service beside a running system, started as the README says: with the variables that `up` leaves. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { serviceRoles } from '#infra/embedded/service-process.ts'
import { administer, removeConnector } from '../harness/admin.ts'
import { runCommand } from '../harness/commands.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

/** Set where somebody followed its audit trail. */
const anotherSystem = { SALLYPORT_BUS_URL: 'tls://127.0.0.1:1', SALLYPORT_BUS_CA_PATH: 'root.pem' }

let origin: CountingOrigin
let system: TestSystem

beforeAll(async () => {
  origin = await startCountingOrigin()
  system = await startSystem({
    connectors: 0,
    publish: [signedInApplication('wiki', origin.url)],
    environment: anotherSystem,
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

test('one more of each joins, serves, and ends with exit code 0 at SIGTERM', async () => {
  const commands = serviceRoles.map(role => ({
    role,
    command: runCommand([role, '--environment', join(system.environmentFolder, role)]),
  }))
  const ready = await Promise.all(
    commands.map(async ({ role, command }) => [role, await command.ready] as const),
  )
  const { gateway, connector, registry } = Object.fromEntries(ready)
  const visitor = await signInTo(system, 'wiki')
  const replies = await drive({
    gateways: () => [`http://127.0.0.1:${gateway?.port}`],
    headers: visitor.headers,
    count: 20,
    concurrency: 4,
    request: () => ({ method: 'GET', path: '/' }),
  })
  expect(failures(replies)).toEqual([])
  const other = { admin: { url: String(registry?.admin), token: system.admin.token } }
  const connectors = '/onPremisesPublishingProfiles/applicationProxy/connectors'
  await expect
    .poll(() => administer(other, 'GET', connectors))
    .toMatchObject({ value: [{ id: connector?.connectorId, status: 'active' }] })
  for (const { command } of commands) command.process.kill('SIGTERM')
  expect(await Promise.all(commands.map(({ command }) => command.exited))).toEqual([0, 0, 0, 0])
})

// Not `--env-file`: Node itself reads that one, wherever it stands on the command line.
test.each([
  ['is not there', '/nowhere/connector', 'ENOENT'],
  ['is a folder', '/', 'EISDIR'],
])('a file that %s is refused with its name', async (_, file, code) => {
  const command = runCommand(['connector', '--environment', file])
  expect(await command.exited).toBe(2)
  expect(command.errors).toContain(`--environment: ${file} cannot be read (${code}:`)
})

test('in a shell that follows the audit trail each says which variable is in the way, and a token stays unused', async () => {
  const { url, caPath } = system.parts.nats.addressFor('auditor')
  const auditor = { SALLYPORT_BUS_URL: url, ...(caPath && { SALLYPORT_BUS_CA_PATH: caPath }) }
  const start = (role: string) =>
    runCommand([role, '--environment', join(system.environmentFolder, role)], auditor)
  const [gateway, connector] = [start('gateway'), start('connector')]
  expect(await Promise.all([gateway.exited, connector.exited])).toEqual([78, 78])
  expect(gateway.errors).toMatch(/does not let its user be a gateway: SALLYPORT_BUS_URL/)
  expect(connector.errors).toMatch(/SALLYPORT_BUS_URL .* so the token was not used/)
})

test('a system and its connectors have their own bus, whatever the shell has set', async () => {
  const connector = await system.add('connector')
  expect(connector.details).toMatchObject({ group: 'default' })
})

test('a connector that the registry removes while it starts is enrolled anew by its next token', async () => {
  const rested = { SALLYPORT_CONNECTOR_ID: 'rested' }
  await system.stop(await system.add('connector', rested))
  const file = join(system.dataDirectory, 'connectors', 'rested', 'connector.json')
  const known = JSON.parse(await readFile(file, 'utf8'))
  // Without a bus it is still starting when it is removed.
  await writeFile(file, JSON.stringify({ ...known, busUrls: ['wss://127.0.0.1:1'] }))
  const starting = system.add('connector', rested)
  await expect.poll(() => system.logs(), { timeout: 10_000 }).toMatch(/rested.*cannot be reached/)
  await removeConnector(system, 'rested')
  expect((await starting).details).toMatchObject({ connectorId: 'rested' })
})
