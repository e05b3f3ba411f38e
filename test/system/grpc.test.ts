/** gRPC end to end: client and server of the library that others use, through gateway, bus and connector. */

import { once } from 'node:events'
import {
  Metadata,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type StatusObject,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf } from '../harness/bodies.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { type GrpcClient, type GrpcOrigin, grpcClient, startGrpcOrigin } from '../harness/grpc.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'

let certificate: TestCertificate
let origin: GrpcOrigin
let system: TestSystem
let client: GrpcClient

/** What the server has noticed of its calls, in order. */
const noticed: string[] = []
beforeEach(() => void noticed.splice(0))

const message = 'nicht m\u00f6glich: \u4e0d\u53ef\u80fd, 100 %'

function unary(call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void {
  let isAnswered = false
  // The library says so after every call, also after those that were answered.
  call.on('cancelled', () => isAnswered || noticed.push('cancelled'))
  const trailers = new Metadata()
  trailers.set('x-trailer', 'last')
  trailers.set('x-bytes-bin', Buffer.from([0, 255, 10]))
  const asked = call.request.toString('latin1', 0, 20)
  noticed.push(`${call.metadata.get('x-asked')}`)
  if (asked === 'hang') return
  isAnswered = true
  if (asked === 'refuse') return reply({ code: status.PERMISSION_DENIED, details: message })
  const first = new Metadata()
  first.set('x-first', 'first')
  call.sendMetadata(first)
  reply(null, call.request, trailers)
}

function serverStream(call: ServerWritableStream<Buffer, Buffer>): void {
  call.on('cancelled', () => noticed.push('cancelled'))
  const [count = 0, then = 'end'] = call.request.toString().split(' ')
  let i = 0
  const send = () => {
    while (i < Number(count)) {
      if (!call.write(Buffer.from(`message ${i++}`))) return void call.once('drain', send)
    }
    if (then === 'end') call.end()
    if (then === 'fail') call.emit('error', { code: status.ABORTED, details: message })
  }
  send()
}

function clientStream(
  call: ServerReadableStream<Buffer, Buffer>,
  reply: sendUnaryData<Buffer>,
): void {
  let bytes = 0
  call.on('data', (piece: Buffer) => {
    bytes += piece.length
    noticed.push(`${piece.length} bytes`)
  })
  call.on('cancelled', () => noticed.push('cancelled'))
  call.on('end', () => reply(null, Buffer.from(`${bytes}`)))
}

function bidirectional(call: ServerDuplexStream<Buffer, Buffer>): void {
  call.on('cancelled', () => noticed.push('cancelled'))
  call.on('data', piece => {
    call.write(Buffer.concat([Buffer.from('echo '), piece]))
    if (String(piece) === 'fail') call.emit('error', { code: status.ABORTED, details: message })
  })
  call.on('end', () => call.end())
}

beforeAll(async () => {
  certificate = await createCertificate()
  origin = await startGrpcOrigin({ unary, serverStream, clientStream, bidirectional })
  system = await startSystem({ environment: certificate.environment })
  await publish('calls', 'passthru')
  await publish('members', 'aadPreAuthentication')
  client = open('calls')
  while ((await ask(client, 'ready')).code !== status.OK);
})
afterAll(async () => {
  client.close()
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
  await certificate[Symbol.asyncDispose]()
})

const open = (host: string) => grpcClient(system.gatewayUrls[0] as string, host, certificate.cert)

const publish = (id: string, externalAuthenticationType: string, internalUrl = origin.url) =>
  administer(system, 'POST', '/applications', {
    id,
    displayName: id,
    appRoleAssignmentRequired: false,
    onPremisesPublishing: {
      externalUrl: `https://${id}.sallyport.localhost:${system.port}/`,
      internalUrl,
      externalAuthenticationType,
      originHttpVersion: 'http2',
    },
  })

interface Answer extends Partial<StatusObject> {
  reply?: Buffer | undefined
  first?: Metadata
}

interface Ask {
  metadata?: Metadata
  deadlineMs?: number
  started?: (call: ReturnType<GrpcClient['unary']>) => void
}

function ask(from: GrpcClient, text: string | Buffer, options: Ask = {}): Promise<Answer> {
  const { metadata = new Metadata(), deadlineMs = 10_000, started } = options
  return new Promise(resolve => {
    let reply: Buffer | undefined
    let first = new Metadata()
    const deadline = new Date(Date.now() + deadlineMs)
    const call = from.unary(Buffer.from(text), metadata, { deadline }, (_error, bytes) => {
      reply = bytes
    })
    call.on('metadata', received => {
      first = received
    })
    call.on('status', end => setImmediate(() => resolve({ ...end, reply, first })))
    started?.(call)
  })
}

/** Every message of a stream, and its end. */
async function everything(call: ReturnType<GrpcClient['serverStream']>) {
  const messages: string[] = []
  call.on('data', piece => messages.push(String(piece)))
  call.on('error', () => undefined)
  const end = await new Promise<StatusObject>(resolve => call.once('status', resolve))
  return { messages, ...end }
}

describe('a call', () => {
  test('of one message has its metadata, its answer and its trailers', async () => {
    const metadata = new Metadata()
    metadata.set('x-asked', 'politely')
    const answer = await ask(client, 'hello', { metadata })
    expect(answer).toMatchObject({ code: status.OK, reply: Buffer.from('hello') })
    expect(answer.first?.get('x-first')).toEqual(['first'])
    expect(answer.metadata?.get('x-trailer')).toEqual(['last'])
    expect(answer.metadata?.get('x-bytes-bin')).toEqual([Buffer.from([0, 255, 10])])
    expect(noticed).toEqual(['politely'])
  })

  test.each([0, 1, 1_048_576, 5_000_000])('carries a message of %i bytes', async bytes => {
    const { code, reply } = await ask(client, bodyOf(bytes))
    expect([code, reply?.equals(bodyOf(bytes))]).toEqual([status.OK, true])
  })

  test('that is refused has its code and its words, in any script', async () => {
    expect(await ask(client, 'refuse')).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: message,
    })
  })

  test('gets ten thousand messages in their order', async () => {
    const { code, messages } = await everything(client.serverStream(Buffer.from('10000')))
    expect(code).toBe(status.OK)
    expect(messages).toEqual(Array.from({ length: 10_000 }, (_, i) => `message ${i}`))
  })

  test('that fails in the middle has the messages before and the failure', async () => {
    const { code, details, messages } = await everything(client.serverStream(Buffer.from('3 fail')))
    expect([code, details, messages.length]).toEqual([status.ABORTED, message, 3])
  })

  test('that streams reaches the server before it ends', async () => {
    const answer = Promise.withResolvers<Buffer | undefined>()
    const call = client.clientStream(new Metadata(), (error, reply) =>
      error ? answer.reject(error) : answer.resolve(reply),
    )
    for (const bytes of [10, 20, 1_000_000]) {
      call.write(bodyOf(bytes))
      await expect.poll(() => noticed).toContain(`${bytes} bytes`)
    }
    call.end()
    expect(String(await answer.promise)).toBe('1000030')
  })

  test('talks back and forth', async () => {
    const call = client.bidirectional()
    for (let i = 0; i < 100; i++) {
      call.write(Buffer.from(`${i}`))
      expect(String((await once(call, 'data'))[0])).toBe(`echo ${i}`)
    }
    call.end()
    call.resume()
    expect((await once(call, 'status'))[0]).toMatchObject({ code: status.OK })
  })

  test('that the server ends while the client still talks has its last message and its code', async () => {
    const call = client.bidirectional()
    const end = everything(call)
    call.write(Buffer.from('fail'))
    expect(await end).toMatchObject({
      messages: ['echo fail'],
      code: status.ABORTED,
      details: message,
    })
  })

  test('is one of three hundred on one connection', async () => {
    const answers = await Promise.all(
      Array.from({ length: 300 }, (_, i) => ask(client, `number ${i}`)),
    )
    expect(answers.map(({ reply }) => String(reply))).toEqual(answers.map((_, i) => `number ${i}`))
  })
})

describe('a call that is given up', () => {
  test('by its deadline ends there, and at the server within a second', async () => {
    const startedAt = performance.now()
    expect(await ask(client, 'hang', { deadlineMs: 300 })).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
    })
    await expect.poll(() => noticed).toContain('cancelled')
    expect(performance.now() - startedAt).toBeLessThan(1_300)
  })

  test('by its client is cancelled at the server', async () => {
    const cancelled = await ask(client, 'hang', {
      started: call =>
        void expect
          .poll(() => noticed)
          .toContain('')
          .then(() => call.cancel()),
    })
    expect(cancelled.code).toBe(status.CANCELLED)
    await expect.poll(() => noticed).toContain('cancelled')
  })

  test.each(['serverStream', 'bidirectional'] as const)(
    'in the middle of a stream is cancelled at the server (%s)',
    async kind => {
      const call = kind === 'serverStream' ? client.serverStream(Buffer.from('1 wait')) : talk()
      call.on('error', () => undefined)
      await once(call, 'data')
      call.cancel()
      await expect.poll(() => noticed).toContain('cancelled')
    },
  )

  const talk = () => {
    const call = client.bidirectional()
    call.write(Buffer.from('first'))
    return call
  }
})

describe('what Sallyport says itself has a code of gRPC', () => {
  test('nobody signed in: UNAUTHENTICATED; with the session of a user the call is served', async () => {
    const members = open('members')
    expect((await ask(members, 'hello')).code).toBe(status.UNAUTHENTICATED)
    using alice = new UserAgent({ ca: certificate.cert })
    const url = `https://members.sallyport.localhost:${system.port}/`
    await alice.signIn(url, 'alice@sallyport.example', 'wonderland')
    const metadata = new Metadata()
    metadata.set('cookie', alice.cookies.header(new URL(url)) ?? '')
    expect(await ask(members, 'hello', { metadata })).toMatchObject({ code: status.OK })
    members.close()
  })

  test('nothing published: UNIMPLEMENTED', async () => {
    const nobody = open('nobody')
    expect((await ask(nobody, 'hello')).code).toBe(status.UNIMPLEMENTED)
    nobody.close()
  })

  test('a server that dies in the middle: INTERNAL; one that is away: UNAVAILABLE', async () => {
    const other = await startGrpcOrigin({ unary, serverStream, clientStream, bidirectional })
    await publish('dying', 'passthru', other.url)
    const dying = open('dying')
    await expect.poll(async () => (await ask(dying, 'hello')).code).toBe(status.OK)
    const call = dying.serverStream(Buffer.from('5 wait'))
    const end = everything(call)
    await once(call, 'data')
    other.end()
    expect((await end).code).toBe(status.INTERNAL)
    expect((await ask(dying, 'hello')).code).toBe(status.UNAVAILABLE)
    dying.close()
  })
})
