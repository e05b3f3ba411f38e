/**
 * Answers and uploads that are long or slow: passed on as they come, held back by whoever is slow, in bounded memory; the
 * same whichever way they go.
 */

import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Environment } from '#infra/config.ts'
import { initialCreditBytes } from '#infra/wire.ts'
import { administer } from './admin.ts'
import { bodyStream, digestOfBody } from './bodies.ts'
import { Client, type Opened } from './client.ts'
import { mib, watchMemory } from './memory.ts'
import { type Origin, startOrigin } from './origin.ts'
import { signedInApplication, startSystem, type TestSystem } from './system.ts'
import { signInTo } from './visitor.ts'

let origin: Origin
let system: TestSystem
let client: Client

async function start(environment: Environment): Promise<void> {
  origin = await startOrigin()
  system = await startSystem({ publish: [signedInApplication('app', origin.url)], environment })
  client = new Client(system.gatewayUrls[0] as string, await signInTo(system, 'app'))
  // Both ways once, so that what follows measures growth and not the first use of the code.
  for (const size of [5 * mib, 20 * mib]) {
    await client.digest(`/bytes/${size}`)
    await client.send('/echo', { body: bodyStream(size) })
  }
}

async function stop(): Promise<void> {
  client[Symbol.dispose]()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
}

/** Room for what a process grows anyway, under a load of any kind. */
const allowedMib = 64
/** Gateway and connector. */
const processes = 2
const expectBounded = (growth: Record<string, number>) => {
  for (const [name, grown] of Object.entries(growth)) {
    expect(grown, `${name} has grown by ${grown} MiB`).toBeLessThan(allowedMib)
  }
}

/** Opens a download and reads nothing of it. */
async function stall(path: string): Promise<Opened> {
  const opened = await client.open(path, { agent: false })
  opened.stream.pause()
  return opened
}

/** Bytes of exchanges that the bus carries while `work` is done. */
async function bytesOnBus(work: () => Promise<unknown>): Promise<number> {
  const bus = await system.connect('registry')
  let bytes = 0
  for (const subject of ['sallyport.up.>', 'sallyport.down.>']) {
    const subscription = bus.subscribe(subject, {
      callback: ({ data }) => {
        bytes += data.length
      },
    })
    onTestFinished(() => subscription.unsubscribe())
  }
  await bus.connection.flush()
  await work()
  await bus.connection.flush()
  return bytes
}

export interface Way {
  readonly environment: Environment
  /** What the bus carries of 40 MiB. */
  readonly onBus: { readonly least: number; readonly most: number }
}

export function describeStreams(name: string, { environment, onBus }: Way): void {
  describe(name, () => describeAll(environment, onBus))
}

function describeAll(environment: Environment, onBus: Way['onBus']): void {
  beforeAll(() => start(environment))
  afterAll(() => stop())

  test('large bodies go down and up', async () => {
    const bytes = await bytesOnBus(async () => {
      expect(await client.digest(`/bytes/${20 * mib}`)).toEqual(digestOfBody(20 * mib))
      const up = await client.send('/echo', { body: bodyStream(20 * mib) })
      expect(up.json()).toMatchObject(digestOfBody(20 * mib))
    })
    expect(bytes).toBeGreaterThan(onBus.least)
    expect(bytes).toBeLessThan(onBus.most)
  })

  test('a client that goes away, and an origin that does, end the other side', async () => {
    const gone: string[] = []
    origin.at('/endless', async (_req, res) => {
      res.once('close', () => gone.push('origin'))
      await pipeline(bodyStream(500 * mib), res).catch(() => undefined)
    })
    const left = await client.open('/endless', { agent: false })
    for (let bytes = 0; bytes < 8 * mib; ) bytes += (await once(left.stream, 'data'))[0].length
    left.request.destroy()
    await expect.poll(() => gone).toEqual(['origin'])

    origin.at('/cut', async (_req, res) => {
      res.writeHead(200, { 'content-length': 500 * mib })
      for await (const chunk of bodyStream(16 * mib)) {
        if (!res.write(chunk)) await once(res, 'drain')
      }
      res.destroy()
    })
    await expect(client.digest('/cut')).rejects.toThrow()
  })

  test('access that ends ends a download and an upload at both sides within a second', async () => {
    const bob = 'bob@sallyport.example'
    const visitor = await signInTo(system, 'app', bob)
    using other = new Client(system.gatewayUrls[0] as string, visitor)
    const gone: string[] = []
    let uploadedBytes = 0
    origin.at('/watched', async (_req, res) => {
      res.once('close', () => gone.push('download'))
      await pipeline(bodyStream(500 * mib), res).catch(() => undefined)
    })
    origin.at('/fed', async req => {
      req.once('close', () => gone.push('upload'))
      for await (const chunk of req) uploadedBytes += chunk.length
    })
    const download = await other.open('/watched', { agent: false })
    for (let bytes = 0; bytes < 8 * mib; ) bytes += (await once(download.stream, 'data'))[0].length
    download.stream.pause()
    const endless = async function* () {
      for (;;) yield* bodyStream(mib)
    }
    const upload = other.send('/fed', { body: Readable.from(endless()) }).then(
      ({ status }) => status,
      () => 'broken off',
    )
    await expect.poll(() => uploadedBytes).toBeGreaterThan(8 * mib)
    await administer(system, 'POST', `/users/${bob}/revokeSignInSessions`)
    const revokedAt = performance.now()
    await expect.poll(() => gone.toSorted(), { interval: 20 }).toEqual(['download', 'upload'])
    expect(performance.now() - revokedAt).toBeLessThan(1_000)
    expect([401, 'broken off']).toContain(await upload)
    download.request.destroy()
  })

  describe('server-sent events', () => {
    test('arrive one by one, each as soon as it is sent', async () => {
      const sources: ServerResponse[] = []
      origin.at('/events', (_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
        res.flushHeaders()
        sources.push(res)
      })
      const { stream, header } = await client.open('/events')
      expect(header('content-type')).toBe('text/event-stream')
      const [source] = sources
      for (let i = 0; i < 20; i++) {
        const startedAt = performance.now()
        source?.write(`data: ${i}\n\n`)
        const [event] = await once(stream, 'data')
        expect(String(event)).toBe(`data: ${i}\n\n`)
        expect(performance.now() - startedAt).toBeLessThan(500)
      }
      source?.end()
      await once(stream, 'end')
    })

    test('of a hundred readers reach each of them', async () => {
      const sources: ServerResponse[] = []
      origin.at('/many', (_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
        sources.push(res)
      })
      const readers = await Promise.all(
        Array.from({ length: 100 }, () => client.open('/many', { agent: false })),
      )
      const heard = Promise.all(
        readers.map(async ({ stream }) => String(await once(stream, 'data'))),
      )
      for (const source of sources) source.write('data: all\n\n')
      expect(new Set(await heard)).toEqual(new Set(['data: all\n\n']))
      for (const { request } of readers) request.destroy()
      await expect.poll(() => sources.every(({ destroyed }) => destroyed)).toBe(true)
    })
  })

  describe('a slow reader', () => {
    test('holds back its own download, no memory and nobody else', async () => {
      using memory = await watchMemory(system)
      let sentBytes = 0
      origin.at('/flood', async (_req, res) => {
        const counted = async function* (chunks: AsyncIterable<Buffer>) {
          for await (const chunk of chunks) {
            sentBytes += chunk.length
            yield chunk
          }
        }
        await pipeline(bodyStream(500 * mib), counted, res).catch(() => undefined)
      })
      const slow = await stall('/flood')
      for (let i = 0; i < 100; i++) {
        const startedAt = performance.now()
        expect((await client.send('/bytes/1000')).status).toBe(200)
        expect(performance.now() - startedAt).toBeLessThan(1_000)
      }
      const sentWhileStalled = sentBytes
      expect(await client.digest(`/bytes/${20 * mib}`)).toEqual(digestOfBody(20 * mib))
      // Socket buffers and the window of one exchange, and not a byte more as time goes by.
      expect(sentBytes).toBe(sentWhileStalled)
      expect(sentBytes).toBeLessThan(24 * mib)
      expectBounded(memory.growthMib())
      slow.request.destroy()
    })

    test('that wakes up gets everything', async () => {
      const slow = await stall(`/bytes/${20 * mib}`)
      for (let i = 0; i < 20; i++) await client.send('/bytes/1000')
      const received = []
      for await (const chunk of slow.stream) received.push(chunk)
      expect(Buffer.concat(received)).toHaveLength(20 * mib)
    })

    test('is one of 64, and the 65th is served as if it were alone', async () => {
      using memory = await watchMemory(system)
      const stalled = await Promise.all(
        Array.from({ length: 64 }, () => stall(`/bytes/${20 * mib}`)),
      )
      const startedAt = performance.now()
      expect(await client.digest(`/bytes/${5 * mib}`)).toEqual(digestOfBody(5 * mib))
      const up = await client.send('/echo', { body: bodyStream(5 * mib) })
      expect(up.json()).toMatchObject(digestOfBody(5 * mib))
      expect(performance.now() - startedAt).toBeLessThan(5_000)
      // Their windows are 16 MiB together, and the sockets' buffers outside of user space.
      expect(Math.max(...Object.values(memory.growthMib()))).toBeLessThan(192)
      for (const { request } of stalled) request.destroy()
    })

    test('is one of a hundred that hold three windows each at most, while others go on', async () => {
      using memory = await watchMemory(system)
      const stalled = await Promise.all(
        Array.from({ length: 100 }, () => stall(`/bytes/${20 * mib}`)),
      )
      for (let i = 0; i < 4; i++) {
        expect(await client.digest(`/bytes/${20 * mib}`)).toEqual(digestOfBody(20 * mib))
      }
      const grownMib = Object.values(memory.growthMib()).reduce((sum, grown) => sum + grown, 0)
      const heldMib = (stalled.length * 3 * initialCreditBytes) / mib
      expect(grownMib).toBeLessThan(heldMib + processes * allowedMib)
      // The server cuts off who does not take what it has for him; the streams would have ended with it.
      expect(await system.logs()).not.toContain('connection to the bus lost')
      const [first] = stalled
      const received = []
      for await (const chunk of first?.stream ?? []) received.push(chunk)
      expect(Buffer.concat(received)).toHaveLength(20 * mib)
      for (const { request } of stalled) request.destroy()
    })
  })

  test('an origin that reads slowly holds back the upload and no memory', async () => {
    using memory = await watchMemory(system)
    let wake: () => void = () => undefined
    origin.at('/slow-upload', async (req, res) => {
      req.pause()
      await new Promise<void>(resolve => {
        wake = resolve
      })
      let bytes = 0
      for await (const chunk of req) bytes += chunk.length
      res.end(`${bytes}`)
    })
    const upload = client.send('/slow-upload', { body: bodyStream(50 * mib) })
    await expect.poll(() => origin.latest('/slow-upload')).toBeDefined()
    for (let i = 0; i < 100; i++) expect((await client.send('/bytes/1000')).status).toBe(200)
    expectBounded(memory.growthMib())
    wake()
    expect((await upload).text).toBe(`${50 * mib}`)
    expectBounded(memory.growthMib())
  })

  test('200 MB go down and up without a change, in bounded memory', {
    timeout: 90_000,
  }, async () => {
    using memory = await watchMemory(system)
    const size = 200 * 1000 * 1000
    const whole = digestOfBody(size)
    const limitMs = 60_000
    expect(await client.digest(`/bytes/${size}`, { limitMs })).toEqual(whole)
    const up = await client.send('/echo', { body: bodyStream(size), limitMs })
    expect(up.json()).toMatchObject(whole)
    expectBounded(memory.growthMib())
  })
}
