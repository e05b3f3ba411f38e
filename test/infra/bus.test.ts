/** The bus connection: order, loss, refusals, and handlers that fail, against a real server. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { type Bus, connectBus } from '#infra/bus.ts'
import { startNatsServer } from '#infra/embedded/nats-server.ts'
import { SallyportError } from '#infra/errors.ts'
import { createLogger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { binary, startTestNats, type TestNats } from '../harness/nats.ts'

let nats: TestNats

beforeAll(async () => {
  nats = await startTestNats()
})
afterAll(() => nats[Symbol.asyncDispose]())

const log = createLogger('test', 'silent')
const Question = z.object({ question: z.string() })
const Answer = z.object({ answer: z.string() })
const subject = 'sallyport.test.question'
const options = { reply: Answer, timeoutMs: 1_000, unavailable: 'policy_unavailable' } as const

/** What a call fails with. */
async function failure(call: Promise<unknown>): Promise<SallyportError> {
  const error = await call.then(
    () => undefined,
    reason => reason,
  )
  expect(error).toBeInstanceOf(SallyportError)
  return error
}

test('a patient question that comes again while somebody is at work is heard, and handled once', async () => {
  await using server = await nats.connect('policy')
  await using client = await nats.connect('gateway')
  let handled = 0
  const handle = async ({ question }: { question: string }) => {
    handled++
    await sleep(50)
    return { answer: question }
  }
  const asked = 'sallyport.policy.evaluate'
  server.serve(asked, { queue: 'policy', request: Question, handle })
  const inbox = subjects.inbox('gateway', client.instance)
  const heard: string[] = []
  client.subscribe(subjects.patientReply(inbox, '*'), {
    callback: ({ data }) => void heard.push(data.toString()),
  })
  await Promise.all([server.connection.flush(), client.connection.flush()])
  const question = Buffer.from(JSON.stringify({ question: 'who?' }))
  const reply = subjects.patientReply(inbox, 'a')
  const again = subjects.patientReplyAgain(reply)
  for (const to of [reply, again, again]) client.publish(asked, question, { reply: to })
  const answer = JSON.stringify({ answer: 'who?' })
  await expect.poll(() => heard).toEqual(['', '', answer])
  client.publish(asked, question, { reply: again })
  await expect.poll(() => heard).toEqual(['', '', answer, '', answer])
  expect(handled).toBe(2)
})

describe('a call', () => {
  let client: Bus
  let server: Bus

  beforeEach(async () => {
    client = await nats.connect('registry')
    server = await nats.connect('registry')
    onTestFinished(async () => {
      await client[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    })
  })

  it('is answered by one member of the queue group', async () => {
    let served = 0
    const handle = ({ question }: { question: string }) => {
      served++
      return { answer: question.toUpperCase() }
    }
    for (let member = 0; member < 3; member++) {
      server.serve(subject, { queue: 'test', request: Question, handle })
    }
    await server.connection.flush()
    expect(await client.call(subject, { question: 'why' }, options)).toEqual({ answer: 'WHY' })
    expect(served).toBe(1)
  })

  it('fails at once with the caller’s fault when nobody serves', async () => {
    const startMs = performance.now()
    const error = await failure(client.call(subject, { question: 'why' }, options))
    expect(error.code).toBe('policy_unavailable')
    expect(error.message).toContain(subject)
    expect(performance.now() - startMs).toBeLessThan(options.timeoutMs / 2)
  })

  it('fails with the caller’s fault when the answer takes too long', async () => {
    server.serve(subject, { request: Question, handle: () => sleep(60_000, {}, { ref: false }) })
    await server.connection.flush()
    const error = await failure(
      client.call(subject, { question: 'why' }, { ...options, timeoutMs: 100 }),
    )
    expect(error.code).toBe('policy_unavailable')
  })

  it('carries a fault code back, and none of its detail', async () => {
    server.serve(subject, {
      request: Question,
      handle: () => {
        throw new SallyportError('access_denied', 'the database password is hunter2')
      },
    })
    await server.connection.flush()
    const error = await failure(client.call(subject, { question: 'why' }, options))
    expect(error.code).toBe('access_denied')
    expect(error.message).not.toContain('hunter2')
  })

  it('says no more than "internal" when a handler breaks', async () => {
    server.serve(subject, {
      request: Question,
      handle: () => {
        throw new TypeError('cannot read secret of undefined')
      },
    })
    await server.connection.flush()
    const error = await failure(client.call(subject, { question: 'why' }, options))
    expect(error.code).toBe('internal')
    expect(error.message).not.toContain('secret')
  })

  it('is not handled when it asks for no answer, unless events are taken too', async () => {
    const handled: string[] = []
    const serve = (of: string, takesEvents?: boolean) =>
      server.serve(of, {
        request: Question,
        ...(takesEvents !== undefined && { takesEvents }),
        handle: ({ question }) => void handled.push(`${of}: ${question}`),
      })
    const events = `${subject}.events`
    serve(subject)
    serve(events, true)
    await server.connection.flush()
    client.publishJson(subject, { question: 'why' })
    client.publish(events, Buffer.from('{'))
    client.publishJson(events, { question: 'when' })
    await expect.poll(() => handled).toEqual([`${events}: when`])
  })

  it('is refused as a bad request when it does not parse, before the handler sees it', async () => {
    let served = 0
    server.serve(subject, { request: Question, handle: () => served++ })
    await server.connection.flush()
    const error = await failure(client.call(subject, { question: 1 }, options))
    expect(error.code).toBe('bad_request')
    expect(served).toBe(0)
  })

  it('does not trust an answer of another shape', async () => {
    server.serve(subject, { request: Question, handle: () => ({ answer: 42 }) })
    await server.connection.flush()
    const error = await failure(client.call(subject, { question: 'why' }, options))
    expect(error.code).toBe('protocol_error')
    expect(error.message).toContain('answer')
  })
})

describe('messages', () => {
  it('arrive in the order in which they were published, large and small', async () => {
    await using sender = await nats.connect('registry')
    await using receiver = await nats.connect('registry')
    const seen: number[] = []
    receiver.subscribe('sallyport.test.order', {
      callback: message => seen.push(message.data.readUInt32BE(0)),
    })
    await receiver.connection.flush()
    const count = 300
    for (let number = 0; number < count; number++) {
      const data = Buffer.alloc(number % 7 === 0 ? 40_000 : 4)
      data.writeUInt32BE(number, 0)
      expect(sender.publish('sallyport.test.order', data)).toBe(true)
    }
    await expect.poll(() => seen.length).toBe(count)
    expect(seen).toEqual(Array.from({ length: count }, (_, number) => number))
  })

  it('still arrive after a handler has thrown', async () => {
    await using sender = await nats.connect('registry')
    await using receiver = await nats.connect('registry')
    const seen: string[] = []
    receiver.subscribe('sallyport.test.throws', {
      callback: message => {
        seen.push(message.data.toString())
        throw new Error('broken handler')
      },
    })
    await receiver.connection.flush()
    sender.publish('sallyport.test.throws', Buffer.from('first'))
    sender.publish('sallyport.test.throws', Buffer.from('second'))
    await expect.poll(() => seen).toEqual(['first', 'second'])
  })

  it('that wait in the queue are sent before the connection is closed', async () => {
    await using receiver = await nats.connect('registry')
    const seen: string[] = []
    receiver.subscribe('sallyport.test.last', {
      callback: message => seen.push(message.data.toString()),
    })
    await receiver.connection.flush()
    const sender = await nats.connect('registry')
    sender.publish('sallyport.test.last', Buffer.from('last words'))
    await sender[Symbol.asyncDispose]()
    await expect.poll(() => seen).toEqual(['last words'])
  })

  it('too large for the server do not keep others from being sent', async () => {
    await using sender = await nats.connect('registry')
    await using receiver = await nats.connect('registry')
    const seen: string[] = []
    receiver.subscribe('sallyport.test.size', {
      callback: message => seen.push(message.data.toString()),
    })
    await receiver.connection.flush()
    sender.publish('sallyport.test.size', Buffer.alloc(sender.maxPayloadBytes + 1))
    sender.publish('sallyport.test.size', Buffer.from('small'))
    await expect.poll(() => seen).toEqual(['small'])
  })
})

describe('a connection', () => {
  it('that is away takes no message, and sends none of them later', async () => {
    await using own = await startTestNats()
    await using sender = await own.connect('registry')
    await using receiver = await own.connect('registry')
    const seen: string[] = []
    receiver.subscribe('sallyport.test.away', {
      callback: message => seen.push(message.data.toString()),
    })
    const changes: string[] = []
    sender.onStatus(status => changes.push(status))
    await own.kill()
    await expect.poll(() => sender.isConnected).toBe(false)
    expect(sender.publish('sallyport.test.away', Buffer.from('lost'))).toBe(false)
    await own.restart()
    const both = () => sender.isConnected && receiver.isConnected
    await expect.poll(both, { timeout: 10_000 }).toBe(true)
    await receiver.connection.flush()
    expect(sender.publish('sallyport.test.away', Buffer.from('kept'))).toBe(true)
    await expect.poll(() => seen).toEqual(['kept'])
    expect(changes).toEqual(['disconnected', 'connected'])
  })

  it('that breaks or is away ends what waits for an answer, at once or within a second', async () => {
    await using own = await startTestNats()
    const client = await own.connect('registry')
    const server = await own.connect('registry')
    const { promise: asked, resolve } = Promise.withResolvers<void>()
    const handle = () => {
      resolve()
      return new Promise(() => undefined)
    }
    server.serve(subject, { request: Question, handle })
    await server.connection.flush()
    const patient = { ...options, timeoutMs: 10_000 }
    const ask = () =>
      failure(
        client.whileConnected(
          () => client.call(subject, { question: 'why' }, patient),
          'sign_in_unavailable',
        ),
      )
    const underWay = ask()
    await asked
    const startedMs = performance.now()
    await own.kill()
    expect((await underWay).code).toBe('sign_in_unavailable')
    expect((await ask()).code).toBe('sign_in_unavailable')
    expect(performance.now() - startedMs).toBeLessThan(5_000)
  })

  it('that was refused many times is lost once and back once', async () => {
    await using own = await startTestNats()
    await using other = await startTestNats()
    await using bus = await own.connect('registry')
    const changes: string[] = []
    bus.onStatus(status => changes.push(status))
    const errors: unknown[] = []
    void (async () => {
      for await (const { type } of bus.connection.status()) if (type === 'error') errors.push(type)
    })()
    const { storeDirectory } = other
    await own.kill()
    const stranger = await startNatsServer({ storeDirectory, port: own.server.port, binary })
    await expect.poll(() => errors.length, { timeout: 5_000 }).toBeGreaterThan(3)
    await stranger[Symbol.asyncDispose]()
    await own.restart()
    await expect.poll(() => bus.isConnected, { timeout: 5_000 }).toBe(true)
    await bus.connection.flush()
    expect(changes).toEqual(['disconnected', 'connected'])
  })

  it('is tried until the server is there', async () => {
    await using own = await startTestNats()
    const { storeDirectory } = own
    const { port } = own.server
    const url = own.server.urlFor('policy')
    await own.kill()
    const connecting = connectBus({ url, role: 'policy', log })
    await using _server = await startNatsServer({ storeDirectory, port })
    await using bus = await connecting
    expect(bus.isConnected).toBe(true)
  })

  it('with the key of another role is refused, and is not tried again', async () => {
    const address = nats.server.addressFor('auditor')
    const refused = connectBus({
      ...address,
      role: 'gateway',
      log,
      signal: AbortSignal.timeout(3_000),
    })
    await expect(refused).rejects.toThrow(
      /does not let its user be a gateway: SALLYPORT_BUS_URL has the key of another role/,
    )
  })

  it('stops being tried at the signal', async () => {
    const stopping = new AbortController()
    const url = 'nats://policy:x@127.0.0.1:1'
    const connecting = connectBus({ url, role: 'policy', log, signal: stopping.signal })
    stopping.abort(new Error('stopping'))
    await expect(connecting).rejects.toThrow(/stopping|aborted/)
  })
})
