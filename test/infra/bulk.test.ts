/** A large body leaves the bus on its way: in order, held back by a slow sink, and never taken for whole when it is not. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test, vi } from 'vitest'
import { BodyReceiver } from '#infra/body-receiver.ts'
import { BodySender } from '#infra/body-sender.ts'
import { BulkConnection } from '#infra/bulk.ts'
import { BulkSwitch } from '#infra/bulk-switch.ts'
import { decodeDown } from '#infra/frames.ts'
import { StreamBudget } from '#infra/stream-budget.ts'

const kib = 1024
const mib = 2 ** 20

/** Two ends of a TCP connection. */
async function socketPair(): Promise<{ near: Socket; far: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [far] = (await once(server, 'connection')) as [Socket]
  server.close()
  onTestFinished(() => {
    near.destroy()
    far.destroy()
  })
  return { near, far }
}

/** A sender and a receiver, the bus between them as a list that the test hands on, and a connection beside it. */
async function bodies({ creditBytes = 10 * kib } = {}) {
  const { near, far } = await socketPair()
  const bus: Buffer[] = []
  const budget = new StreamBudget({ memoryBytes: 100 * mib })
  const state = { isFull: false, writable: 0, ended: false, received: 0, faults: [] as string[] }
  const chunks: Buffer[] = []
  const sender = new BodySender({
    send: frame => bus.push(frame),
    creditBytes,
    onWritable: () => state.writable++,
  })
  const receiver = new BodyReceiver({
    budget,
    send: () => undefined,
    deliver: chunk => {
      chunks.push(chunk)
      state.received += chunk.length
      return !state.isFull
    },
    onEnd: () => {
      state.ended = true
    },
  })
  const say = (detail: string) => state.faults.push(detail)
  const sending = new BulkSwitch({ broken: say, lost: say })
  const receiving = new BulkSwitch({ broken: say, lost: say })
  sending.sends(sender)
  receiving.receives(receiver)
  return {
    sender,
    receiver,
    sending,
    receiving,
    budget,
    state,
    near,
    far,
    content: () => Buffer.concat(chunks),
    switchOver() {
      receiving.take(new BulkConnection(far, Buffer.alloc(0)))
      sending.take(new BulkConnection(near, Buffer.alloc(0)))
    },
    /** What the bus has, arrives. */
    deliverBus() {
      for (const frame of bus.splice(0).map(decodeDown)) {
        if (frame.type === 'data') receiver.data(frame.data)
        if (frame.type === 'end') receiver.end(frame.bodyBytes, frame.trailers)
      }
    },
    isEndSaid: () => bus.some(frame => decodeDown(frame).type === 'end'),
  }
}

const pattern = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, i) => i * 7))

test('what came over the bus comes first, however late it is, and the rest follows in order', async () => {
  const { sender, state, content, ...pair } = await bodies()
  const body = pattern(50 * kib)
  expect(sender.write(body)).toBe(false)
  pair.switchOver()
  sender.end()
  await expect.poll(pair.isEndSaid).toBe(true)
  expect(state.received).toBe(0)
  pair.deliverBus()
  await expect.poll(() => state.ended).toBe(true)
  expect(content().equals(body)).toBe(true)
  expect(state.faults).toEqual([])
})

test('END waits until the last byte has left the process, and is believed when that has arrived', async () => {
  const { sender, state, far, ...pair } = await bodies({ creditBytes: 0 })
  far.pause()
  pair.switchOver()
  const body = Buffer.alloc(64 * mib)
  expect(sender.write(body)).toBe(false)
  sender.end()
  expect(pair.isEndSaid()).toBe(false)
  await expect.poll(pair.isEndSaid).toBe(true)
  pair.deliverBus()
  await expect.poll(() => state.ended).toBe(true)
  expect(state.received).toBe(body.length)
})

test('a source that was held back by credit goes on, and a slow sink holds it back by TCP', async () => {
  const { sender, state, receiver, ...pair } = await bodies()
  state.isFull = true
  sender.write(Buffer.alloc(64 * kib))
  pair.switchOver()
  expect(state.writable).toBe(1)
  pair.deliverBus()
  let isHeldBack = false
  for (let i = 0; i < 1_000 && !isHeldBack; i++) isHeldBack = !sender.write(Buffer.alloc(mib))
  expect(isHeldBack).toBe(true)
  const before = state.received
  state.isFull = false
  receiver.drained()
  await expect.poll(() => state.received).toBeGreaterThan(before)
  await expect.poll(() => state.writable).toBeGreaterThan(1)
})

test('nothing of it counts as under way on the bus any more', async () => {
  const { sender, state, budget, ...pair } = await bodies({ creditBytes: 200 * kib })
  sender.write(Buffer.alloc(200 * kib))
  pair.deliverBus()
  expect(budget.usedMemoryBytes).toBeGreaterThan(0)
  pair.switchOver()
  sender.write(Buffer.alloc(mib))
  await expect.poll(() => state.received).toBe(200 * kib + mib)
  expect(budget.usedMemoryBytes).toBe(0)
  expect(budget.usedUnderWayBytes).toBe(0)
})

test('a connection that ends early is a loss on both sides, unless the exchange ended by then', async () => {
  const { sender, state, near, ...pair } = await bodies({ creditBytes: 0 })
  pair.switchOver()
  sender.write(pattern(10))
  await expect.poll(() => state.received).toBe(10)
  near.destroy()
  const lost = 'the connection for its body was lost'
  await expect.poll(() => state.faults).toEqual([lost, lost])

  const other = await bodies({ creditBytes: 0 })
  other.switchOver()
  other.sender.write(pattern(10))
  await expect.poll(() => other.state.received).toBe(10)
  other.sending.destroy()
  other.receiving.destroy()
  const third = await bodies({ creditBytes: 0 })
  third.switchOver()
  third.sender.write(pattern(10))
  await expect.poll(() => third.state.received).toBe(10)
  third.near.destroy()
  await expect.poll(() => third.state.faults.length).toBe(2)
  expect(other.state.faults).toEqual([])
})

test('END that is here before the connection waits for what comes by that, and for nothing else', async () => {
  const { sender, state, sending, receiving, near, far, ...pair } = await bodies()
  receiving.coming()
  sender.write(pattern(50 * kib))
  sending.take(new BulkConnection(near, Buffer.alloc(0)))
  sender.end()
  await expect.poll(pair.isEndSaid).toBe(true)
  pair.deliverBus()
  expect(state.ended).toBe(false)
  receiving.take(new BulkConnection(far, Buffer.alloc(0)))
  await expect.poll(() => state.ended).toBe(true)
  expect(pair.content().equals(pattern(50 * kib))).toBe(true)

  const other = await bodies()
  expect(() => other.receiver.end(1, [])).toThrow('0 bytes received of 1')
  const third = await bodies()
  third.receiving.coming()
  third.receiver.end(1, [])
  expect(third.state.faults).toEqual([])
  third.receiving.failed()
  expect(third.state.faults).toEqual(['the connection for its body was lost'])
  const fourth = await bodies()
  fourth.receiving.coming()
  fourth.receiving.failed()
  expect(() => fourth.receiver.end(1, [])).toThrow('0 bytes received of 1')
})

test('a body that begins when the connection is gone goes over the bus', async () => {
  const { near, far } = await socketPair()
  const faults: string[] = []
  const say = (detail: string) => faults.push(detail)
  const [sending, receiving] = [1, 2].map(() => new BulkSwitch({ broken: say, lost: say }))
  const bulks = [near, far].map(socket => new BulkConnection(socket, Buffer.alloc(0)))
  const closed = Promise.all(bulks.map(bulk => new Promise<void>(done => bulk.onClosed(done))))
  sending?.take(bulks[0] as BulkConnection)
  receiving?.take(bulks[1] as BulkConnection)
  near.destroy()
  far.destroy()
  await closed
  const { sender, receiver, state, ...pair } = await bodies()
  sending?.sends(sender)
  receiving?.receives(receiver)
  sender.write(pattern(kib))
  sender.end()
  pair.deliverBus()
  expect(state.ended).toBe(true)
  expect(pair.content()).toEqual(pattern(kib))
  expect(faults).toEqual([])
})

test('whoever has finished before the other side reads on, so that the connection ends', async () => {
  const { sender, state, receiver, receiving, near, far, ...pair } = await bodies({
    creditBytes: 0,
  })
  state.isFull = true
  pair.switchOver()
  sender.write(Buffer.alloc(mib))
  await expect.poll(() => state.received).toBeGreaterThan(0)
  const before = state.received
  receiver.close()
  receiving.finish()
  expect(sender.write(Buffer.alloc(16 * mib))).toBe(false)
  await expect.poll(() => near.writableLength).toBe(0)
  near.destroy()
  await expect.poll(() => far.destroyed).toBe(true)
  expect(state.received).toBe(before)
  expect(receiver.waitingBytes).toBeLessThan(mib)
})

test('a sender that has finished leaves the connection to whoever still reads', async () => {
  const { sender, state, receiver, sending, receiving, near, ...pair } = await bodies({
    creditBytes: 0,
  })
  state.isFull = true
  pair.switchOver()
  const body = Buffer.alloc(mib)
  sender.write(body)
  sender.end()
  await expect.poll(pair.isEndSaid).toBe(true)
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  sending.finish()
  vi.advanceTimersByTime(3_600_000)
  vi.useRealTimers()
  await expect.poll(() => near.writableFinished).toBe(true)
  expect(near.destroyed).toBe(false)
  state.isFull = false
  receiver.drained()
  await expect.poll(() => state.received).toBe(body.length)
  receiving.destroy()
  await expect.poll(() => near.destroyed).toBe(true)
})

test('END that promises more than came is no end', async () => {
  const { sender, receiver, state, sending, ...pair } = await bodies({ creditBytes: 0 })
  pair.switchOver()
  sender.write(pattern(10))
  await expect.poll(() => state.received).toBe(10)
  receiver.end(11, [])
  sending.finish()
  await expect.poll(() => state.faults).toEqual(['the connection for its body was lost'])
  expect(state.ended).toBe(false)
})

test('who says that less came over the bus than did is found out', async () => {
  const { receiver, receiving, state, near, far } = await bodies()
  receiver.data(pattern(5))
  receiving.take(new BulkConnection(far, Buffer.alloc(0)))
  new BulkConnection(near, Buffer.alloc(0)).begin(4)
  await expect.poll(() => state.faults).toEqual(['more over the bus than was said'])
})

test('a body that begins when the connection is there goes by it from its first byte', async () => {
  const { near, far } = await socketPair()
  const sending = new BulkSwitch({ broken: () => undefined, lost: () => undefined })
  const receiving = new BulkSwitch({ broken: () => undefined, lost: () => undefined })
  sending.take(new BulkConnection(near, Buffer.alloc(0)))
  receiving.take(new BulkConnection(far, Buffer.alloc(0)))
  const bus: Buffer[] = []
  const chunks: Buffer[] = []
  const sender = new BodySender({
    send: frame => bus.push(frame),
    creditBytes: mib,
    onWritable: () => undefined,
  })
  const receiver = new BodyReceiver({
    send: () => undefined,
    deliver: chunk => chunks.push(chunk) > 0,
    onEnd: () => undefined,
  })
  sending.sends(sender)
  sender.write(pattern(kib))
  receiving.receives(receiver)
  await expect.poll(() => Buffer.concat(chunks)).toEqual(pattern(kib))
  expect(bus).toEqual([])
})
