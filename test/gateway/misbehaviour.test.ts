/** What becomes of the report when the bus is lost, and of the log when a connector does not stop. */

import pino from 'pino'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { Misbehaviour } from '../../gateway/misbehaviour.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

let nats: TestNats

beforeAll(async () => {
  nats = await startTestNats()
})
afterAll(() => nats[Symbol.asyncDispose]())

/** A registry that answers, and what it hears. */
async function registry(): Promise<string[]> {
  const bus = await nats.connect('registry')
  const heard: string[] = []
  const subscription = bus.subscribe(subjects.misbehaviours, {
    callback: ({ data, reply }) => {
      heard.push(JSON.parse(data.toString()).kind)
      bus.publish(reply ?? '', Buffer.from('null'))
    },
  })
  onTestFinished(() => subscription.unsubscribe())
  await bus.connection.flush()
  return heard
}

async function start() {
  const bus = await nats.connect('gateway')
  const lines: { msg: string }[] = []
  const log = pino({ level: 'warn' }, { write: line => void lines.push(JSON.parse(line)) })
  const misbehaviour = new Misbehaviour({ bus, log })
  onTestFinished(() => misbehaviour[Symbol.dispose]())
  return { misbehaviour, bus, lines }
}

test('a report that is made while the bus is away arrives when it is back, once', async () => {
  const { misbehaviour, bus } = await start()
  const heard = await registry()
  misbehaviour.report('rogue', 'answered_twice')
  await expect.poll(() => heard).toEqual(['answered_twice'])
  await nats.kill()
  await expect.poll(() => bus.isConnected).toBe(false)
  misbehaviour.report('rogue', 'flood')
  await nats.restart()
  await expect.poll(() => heard).toEqual(['answered_twice', 'flood'])
})

test('a report that the bus had not taken before it was lost arrives when it is back', async () => {
  const { misbehaviour } = await start()
  const heard = await registry()
  // The server stands still: what it is sent lies in front of it when it ends.
  nats.server.process.kill('SIGSTOP')
  misbehaviour.report('rogue', 'flood')
  await nats.restart()
  await expect.poll(() => heard).toEqual(['flood'])
})

test('a report that is made while no registry is there waits for one', async () => {
  const { misbehaviour, bus } = await start()
  misbehaviour.report('rogue', 'flood')
  await bus.connection.flush()
  const heard = await registry()
  await expect.poll(() => heard).toEqual(['flood'])
})

test('a connector that sends without end what cannot be read is a few lines in the log, and reported', async () => {
  const { misbehaviour, lines } = await start()
  const heard = await registry()
  const error = new Error('unknown frame type 120')
  for (let i = 0; i < 30_000; i++)
    misbehaviour.unreadable('rogue', { what: 'answer', bytes: 1, error })
  await expect.poll(() => heard).toEqual(['flood'])
  const unreadable = lines.filter(({ msg }) => msg === 'unreadable answer')
  expect(unreadable.length).toBeGreaterThan(0)
  expect(unreadable.length).toBeLessThan(5)
})
