/** Frames that travel together: every one arrives, those of an exchange in their order, with few messages. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, onTestFinished, test, vi } from 'vitest'
import { decodeBatch, messageOf } from '#infra/frame-batch.ts'
import { encodeData } from '#infra/frames.ts'
import { FrameGatherer } from '#infra/gather.ts'
import { subjects } from '#infra/subjects.ts'
import { chunkBytes } from '#infra/wire.ts'
import { startTestNats } from '../harness/nats.ts'

test('frames for one gateway travel together, in their order, and each gateway gets its own', async () => {
  await using nats = await startTestNats()
  const gateway = await nats.connect('gateway', 'g1')
  const connector = await nats.connect('connector', 'c1')
  const arrived: { exchangeId: string; text: string }[] = []
  let messages = 0
  const note = (exchangeId: string, frame: Buffer) =>
    arrived.push({ exchangeId, text: frame.subarray(1, 3).toString() })
  gateway.subscribe(subjects.upTo('g1'), {
    callback: ({ subject, data }) => {
      messages++
      const exchangeId = subject.slice(subject.lastIndexOf('.') + 1)
      if (exchangeId !== '-') note(exchangeId, data)
      else for (const each of decodeBatch(data)) note(each.exchangeId, each.frame)
    },
  })
  await gateway.connection.flush()
  const gatherer = new FrameGatherer<string>(connector, {
    publish(to, frames) {
      const exchangeId = frames.length === 1 ? frames[0]?.exchangeId : ''
      connector.publish(subjects.up('c1', to, exchangeId ?? ''), messageOf(frames))
    },
  })
  const send = (gatewayId: string, exchangeId: string, text: string, bytes = 100) =>
    gatherer.add(gatewayId, exchangeId, encodeData(Buffer.from(text.padEnd(bytes))))
  for (const text of ['a1', 'a2']) send('g1', 'a', text)
  send('g2', 'x', 'no')
  send('g1', 'b', 'b1')
  send('g1', 'a', 'a3', chunkBytes)
  for (const text of ['a4', 'a5']) send('g1', 'a', text)
  await expect.poll(() => arrived.map(({ text }) => text)).toHaveLength(6)
  const of = (id: string) => arrived.filter(each => each.exchangeId === id).map(each => each.text)
  expect(of('a')).toEqual(['a1', 'a2', 'a3', 'a4', 'a5'])
  expect(of('b')).toEqual(['b1'])
  expect(messages).toBe(3)
})

test('the beginning of a long turn leaves before its end', async () => {
  await using nats = await startTestNats()
  const sent: number[] = []
  const gatherer = new FrameGatherer<string>(await nats.connect('connector', 'c1'), {
    publish: (_, frames) => void sent.push(frames.length),
  })
  const add = (frames: number) => {
    for (let i = 0; i < frames; i++) gatherer.add('g1', `${i}`, encodeData(Buffer.from('x')))
  }
  add(35)
  expect(sent).toEqual([32])
  gatherer.flush()
  expect(sent).toEqual([32, 3])
  add(1)
  gatherer.drop()
  gatherer.flush()
  expect(sent).toEqual([32, 3])
})

test('several frames wait for turns that bring more, one alone and what has waited for long do not', async () => {
  await using nats = await startTestNats()
  const clock = vi.spyOn(performance, 'now')
  onTestFinished(() => clock.mockRestore())
  const at = (ms: number) => void clock.mockReturnValue(ms)
  const sent: number[] = []
  const gatherer = new FrameGatherer<string>(await nats.connect('connector', 'c1'), {
    publish: (_, frames) => void sent.push(frames.length),
  })
  const turn = async (frames: number) => {
    for (let i = 0; i < frames; i++) gatherer.add('g1', `${i}`, encodeData(Buffer.from('x')))
    await nextTurn()
  }
  at(0)
  await turn(1)
  expect(sent).toEqual([1])
  await turn(2)
  await turn(1)
  await turn(3)
  expect(sent).toEqual([1])
  await turn(0)
  expect(sent).toEqual([1, 6])
  await turn(2)
  at(2)
  await turn(1)
  expect(sent).toEqual([1, 6, 3])
  await turn(31)
  await turn(1)
  expect(sent).toEqual([1, 6, 3, 32])
  await turn(1)
  expect(sent).toEqual([1, 6, 3, 32, 1])
})
