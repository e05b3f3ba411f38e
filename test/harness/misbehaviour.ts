/** The ways in which a private application misbehaves. Those that no HTTP library would write go to the socket raw. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

type Way = (req: IncomingMessage, res: ServerResponse) => unknown

const crlf = '\r\n'
const half = 'x'.repeat(500)

/** Writes the bytes as they are, then ends the connection as told. */
function raw(text: string, end: 'close' | 'reset' | 'keep' = 'close'): Way {
  return ({ socket }) => {
    if (end === 'close') socket.end(text, 'latin1')
    else
      socket.write(text, 'latin1', () => {
        // A reset overtakes what the other side has not read yet: it gets a moment to do so.
        if (end === 'reset') setTimeout(() => socket.resetAndDestroy(), 50)
      })
  }
}

const head = (status: string, ...lines: string[]) =>
  [`HTTP/1.1 ${status}`, ...lines, '', ''].join(crlf)

export const misbehaviours = {
  hangs: () => undefined,
  'resets before the head': ({ socket }) => socket.resetAndDestroy(),
  'closes before the head': ({ socket }) => socket.end(),
  'sends garbage': raw(`\x16\x03\x01 this is no HTTP${crlf}${crlf}`),
  'sends half a head': raw(`HTTP/1.1 200 OK${crlf}Content-Ty`),
  'sends a NUL in a header': raw(`${head('200 OK', 'X-Nul: a\0b', 'Content-Length: 2')}ok`),
  'sends a head of 100 KB': raw(`${head('200 OK', `X-Long: ${'x'.repeat(100_000)}`)}`),
  'sends two lengths': raw(`${head('200 OK', 'Content-Length: 2', 'Content-Length: 5')}okook`),
  'sends a length that is none': raw(`${head('200 OK', 'Content-Length: -2')}ok`),
  'sends length and chunks': raw(
    `${head('200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked')}2${crlf}ok${crlf}0${crlf}${crlf}`,
  ),
  'sends status 99': raw(`${head('099 Odd', 'Content-Length: 2')}ok`),
  'sends status 999': raw(`${head('999 Odd', 'Content-Length: 2')}ok`),
  'switches protocols unasked': raw(
    head('101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: other'),
    'keep',
  ),
  'sends less than its length': raw(`${head('200 OK', 'Content-Length: 1000')}${half}`),
  'sends much less than its length': raw(
    `${head('200 OK', 'Content-Length: 1000000')}${half.repeat(800)}`,
  ),
  'sends more than its length': raw(`${head('200 OK', 'Content-Length: 2')}ok and a lot more`),
  'sends a second answer': raw(
    `${head('200 OK', 'Content-Length: 2')}ok${head('200 OK', 'Content-Length: 6')}poison`,
    'keep',
  ),
  'sends a broken chunk': raw(
    `${head('200 OK', 'Transfer-Encoding: chunked')}5${crlf}hello${crlf}zz${crlf}nonsense`,
  ),
  'ends without the last chunk': raw(
    `${head('200 OK', 'Transfer-Encoding: chunked')}5${crlf}hello${crlf}`,
  ),
  'resets after the head': raw(head('200 OK', 'Content-Length: 1000000'), 'reset'),
  'resets in a body of unknown length': raw(
    `${head('200 OK', 'Transfer-Encoding: chunked')}5${crlf}hello${crlf}`,
    'reset',
  ),
  'resets in a small body': raw(`${head('200 OK', 'Content-Length: 1000')}${half}`, 'reset'),
  'ends its body with the connection': raw(`HTTP/1.0 200 OK${crlf}${crlf}hello`),
  'sends 204 with a length': (_req, res) => res.writeHead(204, { 'content-length': 5 }).end(),
  'sends 204 with a body': raw(`${head('204 No Content', 'Content-Length: 5')}hello`),
  'sends 304 with a length': (_req, res) =>
    res.writeHead(304, { 'content-length': 5, etag: '"a"' }).end(),
  'sends interim answers': ({ socket }, res) => {
    socket.write(head('102 Processing'))
    socket.write(head('103 Early Hints', 'Link: </a.css>; rel=preload; as=style'))
    socket.write(head('103 Early Hints', 'Link: no link at all'))
    res.writeHead(200, { 'content-length': 2 }).end('ok')
  },
  'sends interim answers without end': raw(
    `${head('102 Processing').repeat(50_000)}${head('200 OK', 'Content-Length: 2')}ok`,
  ),
  trickles: async (_req, res) => {
    res.writeHead(200, { 'content-length': 20 })
    for (let i = 0; i < 20 && !res.destroyed; i++) {
      res.write('x')
      await sleep(25)
    }
    res.end()
  },
  'answers before the upload is over': (_req, res) => {
    res.writeHead(413, { 'content-type': 'text/plain', 'content-length': 9 }).end('too large')
  },
} satisfies Record<string, Way>

export type Misbehaviour = keyof typeof misbehaviours
