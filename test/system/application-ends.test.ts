/** An application that is deleted or no longer published: its open exchanges end at once, and it can come back. */

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { Client } from '../harness/client.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

const name = 'app'
const hosted = () => `http://${name}.sallyport.localhost:${system.port}/`
const patient = { timeout: 5_000 }

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication(name, origin.url)] })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, name))
})
afterAll(async () => {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const publishing = () => ({ externalUrl: hosted(), internalUrl: origin.url })

/** An exchange that would go on for ever: what the origin writes into, and when each side saw its end. */
async function openStream() {
  const { promise: source, resolve } = Promise.withResolvers<ServerResponse>()
  origin.at('/events', (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    resolve(res)
  })
  const { stream } = await client.open('/events', { agent: false })
  stream.on('error', () => undefined)
  const atOrigin = await source
  atOrigin.write('data: 1\n\n')
  await once(stream, 'data')
  stream.resume()
  return { client: stream, origin: atOrigin }
}

const statusOf = async () => (await client.send('/bytes/10')).status

describe.each([
  [
    'deleted',
    () => administer(system, 'DELETE', `/applications/${name}`),
    () =>
      administer(system, 'POST', '/applications', {
        id: name,
        appRoleAssignmentRequired: false,
        onPremisesPublishing: publishing(),
      }),
  ],
  [
    'no longer published',
    () => administer(system, 'PATCH', `/applications/${name}`, { onPremisesPublishing: null }),
    () => administer(system, 'PATCH', `/applications/${name}/onPremisesPublishing`, publishing()),
  ],
])('an application that is %s', (_, end, beginAnew) => {
  test('ends within a second for the client and at the origin, and nothing is at its address', async () => {
    expect(await statusOf()).toBe(200)
    const stream = await openStream()
    const startedAt = performance.now()
    await end()
    await expect.poll(() => stream.client.destroyed, { ...patient, interval: 5 }).toBe(true)
    await expect.poll(() => stream.origin.destroyed, { ...patient, interval: 5 }).toBe(true)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    await expect.poll(statusOf, patient).toBe(404)
  })

  test('is served as before once it is published again, and what is opened then stays open', async () => {
    await beginAnew()
    await expect.poll(statusOf, patient).toBe(200)
    const stream = await openStream()
    for (let count = 0; count < 10; count++) expect(await statusOf()).toBe(200)
    stream.origin.write('data: 2\n\n')
    expect(String(await once(stream.client, 'data'))).toBe('data: 2\n\n')
    stream.client.destroy()
  })
})
