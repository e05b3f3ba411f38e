/**
 * The least that a tunnel over NATS costs in Node, in two processes: node:http, one message there and one back, undici.
 * It knows no user, checks nothing, records nothing, and has no flow control: every body is whole, in one message.
 * `SIDE` says which half this is: `gateway` listens, `connector` is only told a port because helpers have one.
 */

import { createServer, type ServerResponse } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { type Bus, connectBus } from '#infra/bus.ts'
import { createLogger } from '#infra/log.ts'
import { endToEnd } from './end-to-end.ts'
import { listen } from './listen.ts'

const exchanges = 'sallyport.bench.exchange'
const answers = 'sallyport.bench.answer'

interface Head {
  status: number
  headers: string[]
}

interface Wish {
  method: Dispatcher.HttpMethod
  path: string
  headers: string[]
}

const bus = await connectBus({
  url: process.env.BUS ?? '',
  role: 'registry',
  log: createLogger('bench', 'error'),
})
listen(process.env.SIDE === 'gateway' ? gateway(bus) : connector(bus, process.env.ORIGIN ?? ''))

function gateway(bus: Bus) {
  const waiting = new Map<string, ServerResponse>()
  let count = 0
  bus.subscribe(`${answers}.*`, {
    callback({ subject, data }) {
      const id = subject.slice(answers.length + 1)
      const res = waiting.get(id)
      waiting.delete(id)
      const end = 4 + data.readUInt32BE()
      const { status, headers }: Head = JSON.parse(data.toString('latin1', 4, end))
      res?.writeHead(status, headers).end(data.subarray(end))
    },
  })
  return createServer(({ method, url, rawHeaders }, res) => {
    const id = (count++).toString(36)
    waiting.set(id, res)
    const wish = { method, path: url, headers: endToEnd(rawHeaders) }
    bus.publish(exchanges, Buffer.from(JSON.stringify(wish)), { reply: `${answers}.${id}` })
  })
}

function connector(bus: Bus, origin: string) {
  const pool = new Pool(origin, { connections: 64, pipelining: 1 })
  bus.subscribe(exchanges, {
    queue: 'connectors',
    callback({ data, reply = '' }) {
      const wish: Wish = JSON.parse(data.toString())
      const head: Head = { status: 502, headers: [] }
      const body: Buffer[] = []
      const answer = () => bus.publish(reply, message(head, body))
      pool.dispatch(wish, {
        onRequestStart: () => undefined,
        onResponseStart(controller, status) {
          const raw = controller.rawHeaders as readonly (Buffer | string)[]
          Object.assign(head, { status, headers: endToEnd(raw.map(String)) })
        },
        onResponseData: (_, chunk) => void body.push(chunk),
        onResponseEnd: answer,
        onResponseError: answer,
      })
    },
  })
  return createServer((_, res) => res.end())
}

function message(head: Head, body: readonly Buffer[]): Buffer {
  const text = Buffer.from(JSON.stringify(head), 'latin1')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, ...body])
}
