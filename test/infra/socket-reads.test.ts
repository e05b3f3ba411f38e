/** Reads that are taken past the stream of a socket, of all four kinds that there are. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { takeReads } from '#infra/socket-reads.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'

let certificate: TestCertificate

beforeAll(async () => {
  certificate = await createCertificate()
})
afterAll(() => certificate[Symbol.asyncDispose]())

interface Pair extends AsyncDisposable {
  /** Whose reads are taken. */
  readonly reader: Socket
  readonly writer: Socket
}

interface Kind {
  name: string
  isSecure: boolean
  isAccepted: boolean
}

const kinds: Kind[] = [
  { name: 'accepted', isSecure: false, isAccepted: true },
  { name: 'connected', isSecure: false, isAccepted: false },
  { name: 'accepted, TLS', isSecure: true, isAccepted: true },
  { name: 'connected, TLS', isSecure: true, isAccepted: false },
]

async function pairOf({ isSecure, isAccepted }: Kind): Promise<Pair> {
  const server = isSecure
    ? createTlsServer({ cert: certificate.cert, key: certificate.key })
    : createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const accepting = once(server, isSecure ? 'secureConnection' : 'connection')
  const client = isSecure
    ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    : connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const [[accepted]] = (await Promise.all([
    accepting,
    once(client, isSecure ? 'secureConnect' : 'connect'),
  ])) as [[Socket], unknown]
  for (const socket of [client, accepted]) socket.setNoDelay(true).on('error', () => undefined)
  return {
    reader: isAccepted ? accepted : client,
    writer: isAccepted ? client : accepted,
    async [Symbol.asyncDispose]() {
      client.destroy()
      accepted.destroy()
      await closed(server)
    },
  }
}

async function closed(server: Server): Promise<void> {
  await new Promise(resolve => server.close(resolve))
}

async function until(isSo: () => boolean): Promise<void> {
  await expect.poll(isSo, { timeout: 5_000, interval: 5 }).toBe(true)
}

/** Octets that differ everywhere, so that none can be missing or stand elsewhere. */
function pattern(bytes: number): Buffer {
  const octets = Buffer.alloc(bytes)
  for (let i = 0; i + 4 <= bytes; i += 4) octets.writeUInt32BE((i * 2_654_435_761) >>> 0, i)
  return octets
}

describe.each(kinds)('of a socket that was $name', kind => {
  test('no stream is needed', async () => {
    await using pair = await pairOf(kind)
    const { reader, writer } = pair
    let text = ''
    takeReads(reader, octets => {
      text += octets
    })
    writer.write('one')
    await until(() => text === 'one')
    expect(reader.listenerCount('data')).toBe(0)
    expect(reader.bytesRead).toBeGreaterThanOrEqual(3)
  })

  test('what was read stays as it is when others read', async () => {
    await using one = await pairOf(kind)
    await using two = await pairOf(kind)
    const chunks: Buffer[] = []
    for (const { reader } of [one, two]) takeReads(reader, octets => chunks.push(octets))
    for (let i = 0; i < 20; i++) {
      const { writer } = i % 2 ? one : two
      writer.write(`message ${i}`)
      await until(() => chunks.length === i + 1)
    }
    expect(chunks.map(String)).toEqual(Array.from({ length: 20 }, (_, i) => `message ${i}`))
  })

  test('much and little, in order and whole', async () => {
    await using pair = await pairOf(kind)
    const { reader, writer } = pair
    const chunks: Buffer[] = []
    let bytes = 0
    takeReads(reader, octets => {
      chunks.push(octets)
      bytes += octets.length
    })
    const sent: Buffer[] = []
    let sentBytes = 0
    for (const size of [3, 5_000_000, 1, 60_000, 700_001, 12]) {
      const octets = pattern(size)
      sent.push(octets)
      sentBytes += size
      writer.write(octets)
      await until(() => bytes === sentBytes)
    }
    expect(Buffer.concat(chunks).equals(Buffer.concat(sent))).toBe(true)
  })

  test('nothing comes while it is paused, and nothing is missing later', async () => {
    await using pair = await pairOf(kind)
    const { reader, writer } = pair
    const chunks: Buffer[] = []
    let [bytes, isPatient] = [0, true]
    takeReads(reader, octets => {
      chunks.push(octets)
      bytes += octets.length
      if (isPatient) reader.pause()
    })
    const octets = pattern(20_000_000)
    writer.write(octets)
    await until(() => chunks.length > 0)
    for (let i = 0; i < 20; i++) {
      // A record of TLS that was decrypted already may follow.
      await sleep(10)
      const soon = chunks.length
      await sleep(10)
      expect(chunks.length).toBe(soon)
      reader.resume()
      await until(() => chunks.length > soon)
    }
    expect(writer.writableLength).toBeGreaterThan(0)
    isPatient = false
    reader.resume()
    await until(() => bytes === octets.length)
    expect(Buffer.concat(chunks).equals(octets)).toBe(true)
  })

  test('given back, the stream goes on, and holds the other side back', async () => {
    await using pair = await pairOf(kind)
    const { reader, writer } = pair
    const taken: Buffer[] = []
    const reads = takeReads(reader, octets => taken.push(octets))
    writer.write('before')
    await until(() => taken.length > 0)
    reads.giveBack()
    reader.pause()
    const octets = pattern(20_000_000)
    writer.end(octets)
    await sleep(100)
    expect(reader.readableLength).toBeLessThan(256 * 1024)
    expect(writer.writableLength).toBeGreaterThan(0)
    const streamed: Buffer[] = []
    for await (const chunk of reader) {
      streamed.push(chunk)
      if (streamed.length % 50 === 0) await sleep(1)
      expect(reader.readableLength).toBeLessThan(256 * 1024)
    }
    expect(Buffer.concat(taken).toString()).toBe('before')
    expect(Buffer.concat(streamed).equals(octets)).toBe(true)
  })

  test('its end is told behind all that came', async () => {
    await using pair = await pairOf(kind)
    const { reader, writer } = pair
    let bytes = 0
    takeReads(reader, octets => {
      bytes += octets.length
    })
    const ended = once(reader, 'end')
    writer.end(pattern(300_000))
    await ended
    expect(bytes).toBe(300_000)
  })
})

test('what the stream holds already comes first', async () => {
  await using pair = await pairOf({ name: '', isSecure: false, isAccepted: true })
  const { reader, writer } = pair
  reader.pause()
  writer.write('early')
  reader.read(0)
  await until(() => reader.readableLength === 5)
  let text = ''
  takeReads(reader, octets => {
    text += octets
  })
  reader.resume()
  writer.write(' and late')
  await until(() => text === 'early and late')
})

test('a reset is told', async () => {
  await using pair = await pairOf({ name: '', isSecure: false, isAccepted: true })
  const { reader, writer } = pair
  takeReads(reader, () => undefined)
  const failed = once(reader, 'error')
  writer.resetAndDestroy()
  const [error] = await failed
  expect(error).toMatchObject({ code: 'ECONNRESET' })
})
