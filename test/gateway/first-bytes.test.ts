/** How a connection of HTTP/1.1 begins: whoever reads it finds all of its bytes, however they arrive. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RequestListener } from '../../gateway/front/client.ts'
import { createFront, type Front } from '../../gateway/front/front.ts'
import { type Fronts, openConnection, startFronts, type Transport } from './fronts.ts'

/** Says what it was asked, with the length of the body. */
const listener: RequestListener = (req, res) => {
  let bytes = 0
  req.body.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  req.body.on('end', () => {
    const text = `<${req.method} ${req.url} ${bytes}>`
    res.sendWhole(200, 'OK', ['Content-Type', 'text/plain'], Buffer.from(text))
  })
}

let fronts: Fronts
beforeAll(async () => {
  fronts = await startFronts({ listener, patience: { head: 1 } })
})
afterAll(() => fronts[Symbol.asyncDispose]())

const open = (name: Transport) => fronts.open(name)

/** Everything that is answered until the connection is closed. */
async function all(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  // A connection that is cut may end with an error.
  await new Promise(resolve => socket.once('close', resolve))
  return text
}
const said = (answer: string) => answer.match(/<.*?>/g) ?? []
const head = (line: string, ...more: string[]) =>
  `${[`${line} HTTP/1.1`, 'Host: a', ...more].join('\r\n')}\r\n\r\n`
const last = (line: string, ...more: string[]) => head(line, ...more, 'Connection: close')
const openConnections = ({ server }: Front) =>
  new Promise<number>(resolve => server.getConnections((_error, count) => resolve(count)))

describe.each<Transport>(['TCP', 'TLS'])('over %s', name => {
  test.each([
    ['a method that begins as those of the Remote Desktop Gateway', last('REPORT /r')],
    ['another one', last('REBIND /r')],
    ['any other', last('GET /g')],
  ])('%s is read octet by octet', async (_what, text) => {
    const socket = await open(name)
    const answer = all(socket)
    for (const octet of text) {
      socket.write(octet)
      await nextTurn()
    }
    expect(said(await answer)).toEqual([`<${text.split(' ').slice(0, 2).join(' ')} 0>`])
  })

  test('requests that come in one piece, bodies and all, are answered in their order', async () => {
    const socket = await open(name)
    const answer = all(socket)
    const body = 'x'.repeat(100_000)
    socket.write(
      head('POST /1', `Content-Length: ${body.length}`) + body + head('GET /2') + last('REPORT /3'),
    )
    expect(said(await answer)).toEqual(['<POST /1 100000>', '<GET /2 0>', '<REPORT /3 0>'])
  })

  test('a client that has said all with its request is answered', async () => {
    const socket = await open(name)
    const answer = all(socket)
    socket.end(head('GET /half'))
    expect(said(await answer)).toEqual(['<GET /half 0>'])
  })

  test('a client that says nothing is left after a while, one that leaves at once', async () => {
    const silent = await open(name)
    const startedAt = performance.now()
    ;(await open(name)).destroy()
    ;(await open(name)).end()
    await once(silent.resume(), 'close')
    expect(performance.now() - startedAt).toBeGreaterThan(900)
    await expect.poll(() => openConnections(fronts[name])).toBe(0)
  })

  test('a lone R is waited for as long as any other beginning', async () => {
    const socket = await open(name)
    socket.write('R')
    expect(await all(socket)).toBe('')
  })

  test.each([
    ['a method of that gateway whose head does not come', 'RDG_OUT_DATA / HTT', 408],
    ['a method that begins like them and is none', head('RDX /'), 501],
    ['one that nobody knows', head('FETCH /'), 501],
    ['what is no HTTP', '\x16\x03\x01\x02\x00\x01\x00', 400],
  ])('%s is told so', async (_what, text, status) => {
    const socket = await open(name)
    const answer = all(socket)
    socket.write(text, 'latin1')
    expect(await answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} .*"code":"\\w+"`, 's'))
  })

  test('RFC 9110 §15.5.9: a head that does not come to its end is a 408', async () => {
    const socket = await open(name)
    const answer = all(socket)
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n')
    expect(await answer).toMatch(/^HTTP\/1\.1 408 .*"code":"request_timeout"/s)
  })
})

test('a front that stops does not wait for those who have said nothing', async () => {
  const front = createFront({ listener })
  const port = await front.listen('127.0.0.1', 0)
  const silent = await openConnection(port, 'TCP')
  const begun = await openConnection(port, 'TCP')
  begun.write('RDG_OUT_DATA / HTT')
  await expect.poll(() => openConnections(front)).toBe(2)
  const ended = Promise.all([all(silent), all(begun)])
  await front.close()
  await ended
})
