/** The origin behind every target: plain node:http, answers ready in memory. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { listen } from './listen.ts'

const json = Buffer.from(JSON.stringify({ items: 'x'.repeat(1_012) }))
const page = Buffer.from(`<!doctype html><title>page</title>${'<p>text</p>'.repeat(9_306)}`)
const chunk = Buffer.alloc(64 * 1024, 'x')
const streamMs = 20

type Handler = (req: IncomingMessage, res: ServerResponse, url: URL) => unknown

const handlers: Record<string, Handler> = {
  '/json': (_req, res) => answer(res, 'application/json', json),
  '/page': (_req, res) => answer(res, 'text/html; charset=utf-8', page),
  '/download': async (_req, res, url) => {
    const bytes = Number(url.searchParams.get('bytes'))
    res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes })
    await pipeline(Readable.from(chunks(bytes)), res)
  },
  '/upload': async (req, res) => {
    let bytes = 0
    for await (const part of req) bytes += part.length
    answer(res, 'application/json', Buffer.from(JSON.stringify({ bytes })))
  },
  '/stream': (_req, res) => {
    res.writeHead(200, { 'content-type': 'text/plain' })
    res.write('first')
    setTimeout(() => res.end('last'), streamMs)
  },
}

function answer(res: ServerResponse, type: string, body: Buffer): void {
  res.writeHead(200, { 'content-type': type, 'content-length': body.length }).end(body)
}

function* chunks(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left)
}

listen(
  createServer((req, res) => {
    const url = new URL(req.url ?? '/', 'http://origin')
    const handler = handlers[url.pathname]
    if (!handler) {
      res.writeHead(404).end()
      return
    }
    Promise.resolve(handler(req, res, url)).catch(() => res.destroy())
  }),
)
