/**
 * Holds open streams in a process of its own, so that what it measures is the end of each stream and not the work of
 * whoever measures: told to `open`, it answers when each of them has carried something; asked for the `state`, with
 * what every stream has carried and how it ended.
 */

import http from 'node:http'
import { WebSocket } from 'ws'
import { detailOf } from '#infra/errors.ts'
import type { Order, StreamState, StreamWish } from './streams.ts'

/** So many are begun at the same time. */
const begunAtOnce = 25

interface Held extends StreamState {
  leave(): void
}

const held: Held[] = []

function begin({ gateway, kind, headers }: StreamWish): Promise<Held> {
  const { promise, resolve, reject } = Promise.withResolvers<Held>()
  const state: Held = { gateway, kind, requestId: '', bytes: 0, leave: () => undefined }
  const take = (data: Buffer) => {
    if (state.bytes === 0) resolve(state)
    state.bytes += data.length
  }
  const ended = (how: string) => {
    state.end ??= { atMs: performance.timeOrigin + performance.now(), how }
    reject(new Error(`${kind} at ${gateway} ended at once: ${how}`))
  }
  if (kind === 'websocket') {
    const ws = new WebSocket(`${gateway.replace('http', 'ws')}/live/ws`, { headers })
    ws.on('upgrade', response => {
      state.requestId = String(response.headers['sallyport-request-id'])
    })
    ws.on('message', take).on('error', error => ended(error.message))
    ws.on('close', code => ended(String(code)))
    state.leave = () => ws.terminate()
    return promise
  }
  const request = http.get(`${gateway}/live/${kind}`, { headers, agent: false })
  request.on('error', error => ended(`no answer: ${error.message}`))
  request.on('response', response => {
    if (response.statusCode !== 200) ended(`status ${response.statusCode}`)
    state.requestId = String(response.headers['sallyport-request-id'])
    response.on('data', take).on('end', () => ended('whole'))
    response.on('error', () => ended('cut')).on('close', () => ended('cut'))
  })
  state.leave = () => request.destroy()
  return promise
}

async function open(wishes: readonly StreamWish[]): Promise<void> {
  const left = [...wishes]
  const beginAll = async () => {
    for (let wish = left.shift(); wish; wish = left.shift()) held.push(await begin(wish))
  }
  await Promise.all(Array.from({ length: begunAtOnce }, beginAll))
}

process.on('message', async (order: Order) => {
  try {
    if (order.open) await open(order.open)
    process.send?.({ states: held.map(({ leave: _, ...state }) => state) })
  } catch (error) {
    process.send?.({ error: detailOf(error) })
  }
})
process.once('disconnect', () => {
  for (const { leave } of held) leave()
  process.exit(0)
})
process.send?.({ states: [] })
