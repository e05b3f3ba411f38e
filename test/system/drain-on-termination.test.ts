/** SIGTERM: a service takes nothing new, finishes what it has begun, and leaves with exit code 0. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ServiceProcess } from '#infra/embedded/service-process.ts'
import { digestOfBody, digestOfStream } from '../harness/bodies.ts'
import { Client } from '../harness/client.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { mib } from '../harness/memory.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo, type Visitor } from '../harness/visitor.ts'

let origin: CountingOrigin
let files: Origin
let system: TestSystem
let visitor: Visitor

beforeAll(async () => {
  origin = await startCountingOrigin()
  files = await startOrigin()
  system = await startSystem({
    gateways: 2,
    connectors: 3,
    publish: [signedInApplication('wiki', origin.url), signedInApplication('files', files.url)],
  })
  visitor = await signInTo(system, 'wiki')
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await files[Symbol.asyncDispose]()
})

const session = () => ({ gateways: () => system.gatewayUrls, headers: visitor.headers })
const either = (number: number, path: string) =>
  number % 2 === 0 ? { method: 'POST', path, body: 'a change' } : { method: 'GET', path }
const held = (count: number, gateways: readonly string[]) =>
  drive({
    ...session(),
    gateways: () => gateways,
    count,
    concurrency: count,
    request: number => either(number, '/held'),
  })

function first(role: 'connector' | 'gateway'): ServiceProcess {
  const [service] = system.services.of(role)
  if (!service) throw new Error(`there is no ${role}`)
  return service
}

test('a connector that is stopped under load loses nothing, neither GET nor POST, nor what it has under way', async () => {
  const leaving = first('connector')
  const waiting = held(24, system.gatewayUrls)
  await expect.poll(() => origin.held).toBe(24)
  await using load = startDriving({ ...session(), request: number => either(number, '/') })
  await load.untilAnswered(500)
  const stopped = system.stop(leaving)
  await load.untilAnswered(500)
  expect(leaving.isRunning).toBe(true)
  origin.release()
  await stopped
  expect(leaving.exitCode).toBe(0)
  await load.untilAnswered(500)
  expect(failures(await load.stop())).toEqual([])
  expect(failures(await waiting)).toEqual([])
  expect(origin.repeated()).toEqual([])
})

test('connectors that are stopped leave whole what a slow client has not read yet', async () => {
  const path = `/bytes/${6 * mib}`
  using client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'files'))
  const download = await client.open(path, { agent: false })
  download.stream.pause()
  await expect.poll(() => files.latest(path)?.end).toBe('answered')
  await Promise.all(system.services.of('connector').map(connector => system.stop(connector)))
  expect(await digestOfStream(download.stream)).toEqual(digestOfBody(6 * mib))
  await system.add('connector')
})

test('a gateway that is stopped finishes what is under way, then ends without waiting for idle connections', async () => {
  const leaving = first('gateway')
  const url = `http://127.0.0.1:${leaving.details.port}`
  const others = system.gatewayUrls.filter(other => other !== url)
  await using idle = startDriving({ ...session(), gateways: () => [url] })
  await idle.untilAnswered(100)
  await idle.stop()
  const waiting = held(24, [url])
  await expect.poll(() => origin.held).toBe(24)
  await using load = startDriving({ ...session(), gateways: () => others })
  const stopped = system.stop(leaving)
  await expect.poll(() => canConnect(url)).toBe(false)
  await load.untilAnswered(200)
  origin.release()
  const releasedMs = performance.now()
  expect(failures(await waiting)).toEqual([])
  await stopped
  expect(performance.now() - releasedMs).toBeLessThan(5_000)
  expect(leaving.exitCode).toBe(0)
  expect(failures(await load.stop())).toEqual([])
})

async function canConnect(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
