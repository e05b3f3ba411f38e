/** Plain requests, which are read and answered without Node's HTTP server: nobody can tell the difference. */

import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as pass } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ClientRequest, ClientResponse } from '../../gateway/front/client.ts'
import { createFront } from '../../gateway/front/front.ts'
import { readPlainMessage } from '../../gateway/front/plain-message.ts'
import { PlainRequest } from '../../gateway/front/plain-response.ts'
import { type Fronts, openConnection, startFronts, type Transport } from './fronts.ts'

/** Who reads a request, and what the listener was given; the path says how it is answered. */
interface Seen {
  readonly isPlain: boolean
  readonly request: unknown[]
}

const seen: Seen[] = []
const held = new Map<string, ClientResponse>()
const big = Buffer.alloc(300_000, 'abcdefghij')
/** More than all buffers between two processes hold. */
const endless = Buffer.alloc(30_000_000, 'abcdefghij')

const answers: Record<string, (res: ClientResponse) => void> = {
  '/whole': res => res.sendWhole(200, 'OK', ['Content-Type', 'text/plain'], Buffer.from('whole')),
  '/odd-reason': res =>
    res.sendWhole(299, 'M\u00fcde', ['X-A', '\u00e4', 'x-a', '2'], Buffer.alloc(0)),
  '/no-reason': res => res.sendWhole(200, '', [], Buffer.from('x')),
  '/dated': res => res.sendWhole(200, 'OK', ['Date', 'long ago'], Buffer.from('x')),
  '/known-length': res => res.sendWhole(200, 'OK', ['content-length', '3'], Buffer.from('abc')),
  '/large': res => res.sendWhole(200, 'OK', [], big),
  '/nothing': res => res.sendWhole(204, 'No Content', ['Content-Length', '0'], Buffer.alloc(0)),
  '/not-modified': res =>
    res.sendWhole(304, 'Not Modified', ['Content-Length', '9'], Buffer.alloc(0)),
  '/last': res => {
    res.closeConnection()
    res.sendWhole(200, 'OK', [], Buffer.from('last'))
  },
  '/hints': res => {
    res.sendInformation(103, ['Link', '</a>; rel=preload'])
    res.sendWhole(200, 'OK', [], Buffer.from('hinted'))
  },
  '/streamed': res => {
    res.sendHead(200, 'OK', ['Content-Type', 'text/plain', 'Trailer', 'X-Sum'])
    res.write(Buffer.from('one'))
    res.write(Buffer.from('two'))
    res.endWith(['X-Sum', '7'])
  },
  '/streamed-length': res => {
    res.sendHead(200, 'OK', ['Content-Length', '6'])
    res.write(Buffer.from('onetwo'))
    res.endWith([])
  },
  '/streamed-last': res => {
    res.closeConnection()
    res.sendHead(200, 'OK', [])
    res.write(Buffer.from('one'))
    res.endWith([])
  },
  '/other-protocol': res =>
    res.sendWhole(426, 'Upgrade Required', ['Upgrade', 'x'], Buffer.from('x')),
  '/other-protocol-last': res => {
    res.closeConnection()
    res.sendWhole(426, 'Upgrade Required', ['Upgrade', 'x'], Buffer.from('x'))
  },
  '/other-protocol-streamed': res => {
    res.sendHead(426, 'Upgrade Required', ['Upgrade', 'x'])
    res.write(Buffer.from('one'))
    res.endWith([])
  },
  '/broken': res => {
    res.sendHead(200, 'OK', [])
    res.write(Buffer.from('half'))
    res.abort()
  },
  '/never': res => res.abort(),
  '/wrong-length': res => caught(res, () => res.sendWhole(200, 'OK', ['Content-Length', '2'], big)),
  '/line-break': res => caught(res, () => res.sendWhole(200, 'OK', ['X-A', 'b\r\nc: d'], big)),
  '/line-break-304': res =>
    caught(res, () => res.sendWhole(304, 'OK', ['X-A', 'b\nc'], Buffer.alloc(0))),
  '/reason-break': res => caught(res, () => res.sendWhole(200, 'a\r\nb', [], Buffer.from('x'))),
  '/wrong-status': res => caught(res, () => res.sendWhole(1_000, 'OK', [], Buffer.from('x'))),
  '/streamed-break': res => caught(res, () => res.sendHead(200, 'OK', ['X-A', 'b\r\nc: d'])),
}

/** What is wrong with these is their body. */
const forBodies = ['/streamed', '/wrong-length']

/** What cannot be said is an error before anything was sent; then something else can be said. */
function caught(res: ClientResponse, send: () => void): void {
  expect(send).toThrow()
  expect(res.headersSent).toBe(false)
  res.sendWhole(502, 'Bad Gateway', [], Buffer.from('not sent'))
}

function listener(req: ClientRequest, res: ClientResponse): void {
  const { method, url = '', httpVersionMajor, httpVersionMinor, rawHeaders } = req
  const isPlain = req instanceof PlainRequest
  const facts: unknown[] = [method, url, httpVersionMajor, httpVersionMinor, rawHeaders]
  seen.push({ isPlain, request: facts })
  const body: Buffer[] = []
  req.body.on('data', (chunk: Buffer) => body.push(chunk))
  req.body.on('end', () => facts.push(Buffer.concat(body).toString('latin1')))
  const answer = answers[url.split('?')[0] ?? '']
  if (answer) answer(res)
  else held.set(url, res)
}

let fronts: Fronts
beforeAll(async () => {
  fronts = await startFronts({ listener, patience: { keepAlive: 1 } })
})
afterAll(() => fronts[Symbol.asyncDispose]())

const open = (name: Transport) => fronts.open(name)

/** Collects what a connection says. */
function listen(socket: Socket) {
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  return {
    get text() {
      return text
    },
    has: (part: string) => expect.poll(() => text).toContain(part),
  }
}

const head = (line: string, ...more: string[]) =>
  `${[`${line} HTTP/1.1`, 'Host: app', ...more].join('\r\n')}\r\n\r\n`

/** The parser takes an empty line before a request for nothing (RFC 9112 §2.2); here it makes the request its own. */
const forNode = (sent: string) => `\r\n${sent}`

/** All that a connection says to one request and the end of it, as it is at any time of day. */
async function answerTo(name: Transport, sent: string): Promise<string> {
  const socket = await open(name)
  const said = listen(socket)
  // An idle connection is closed after a while: then nothing more can come.
  const closed = new Promise(resolve => socket.once('close', resolve))
  socket.write(sent, 'latin1')
  await closed
  return said.text.replace(/Date: \w{3}, [\w: ]+GMT/, 'Date: now')
}

describe('a request that is read without the parser', () => {
  const read = (text: string) => readPlainMessage(Buffer.from(text, 'latin1'))

  test('has its fields in their order and spelling', () => {
    const fields = 'host:app\r\nX-A: \t b c \t\r\nx-a:\r\nAccept: */*\r\nConnection: Keep-Alive'
    expect(read(`HEAD /a?b=%20 HTTP/1.1\r\n${fields}\r\n\r\n`)).toEqual({
      method: 'HEAD',
      target: '/a?b=%20',
      headers: [
        'host',
        'app',
        'X-A',
        'b c',
        'x-a',
        '',
        'Accept',
        '*/*',
        'Connection',
        'Keep-Alive',
      ],
      body: Buffer.alloc(0),
    })
    const many = Array.from({ length: 99 }, (_, i) => `a${i}: b`)
    expect(read(head('GET /', ...many))?.headers).toHaveLength(200)
  })

  test.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'may be %s, with all of its body',
    method => {
      expect(read(head(`${method} /`))?.body).toHaveLength(0)
      expect(read(head(`${method} /`, 'Content-Length: 0'))?.body).toHaveLength(0)
      const whole = read(`${head(`${method} /`, 'content-length:  5 ')}\r\n\r\n\xff`)
      expect(whole?.body).toEqual(Buffer.from('\r\n\r\n\xff', 'latin1'))
    },
  )

  test.each([
    ['another method', head('PROPFIND /')],
    ['a method that no gateway serves', head('TRACE /')],
    ['a method in lower case', head('get /')],
    ['an unknown method that begins as one', head('GETS /')],
    ['absolute-form', head('GET http://app/')],
    ['asterisk-form', head('GET *')],
    ['no target', head('GET ')],
    ['a blank in the target', head('GET /a b')],
    ['an octet in the target that is no visible ASCII', head('GET /\xe4')],
    ['two blanks', head('GET  /')],
    ['another version', 'GET / HTTP/1.0\r\nHost: app\r\n\r\n'],
    ['no version', 'GET /\r\nHost: app\r\n\r\n'],
    ['lines that end with LF alone', head('GET /').replaceAll('\r\n', '\n')],
    ['one line that ends with LF alone', 'GET / HTTP/1.1\nHost: app\r\n\r\n'],
    ['a field that ends with LF alone', 'GET / HTTP/1.1\r\nHost: app\nX-A: b\r\n\r\n'],
    ['CR within a field', head('GET /', 'X-A: b\rc')],
    ['an empty line before it', `\r\n${head('GET /')}`],
    ['an end that is missing', head('GET /').slice(0, -2)],
    ['half an end', head('GET /').slice(0, -1)],
    ['something behind it', `${head('GET /')}x`],
    ['another head behind it', head('GET /') + head('GET /')],
    ['a folded field', head('GET /', 'X-A: b', ' c')],
    ['a blank before a field', head('GET /', ' X-A: b')],
    ['a blank before the colon', head('GET /', 'X-A : b')],
    ['a line that is no field', head('GET /', 'X-A')],
    ['a field without a name', head('GET /', ': b')],
    ['an octet in a field that is no ASCII', head('GET /', 'X-A: \xe4')],
    ['NUL in a field', head('GET /', 'X-A: \0')],
    ['DEL in a field', head('GET /', 'X-A: \x7f')],
    ['no field', 'GET / HTTP/1.1\r\n\r\n'],
    ['no Host', 'GET / HTTP/1.1\r\nAccept: */*\r\n\r\n'],
    ['two Hosts', head('GET /', 'host: app')],
    ['a body that is not all there', `${head('POST /', 'Content-Length: 3')}ab`],
    ['more than its body', `${head('POST /', 'Content-Length: 3')}abcd`],
    ['a body without a length', `${head('POST /')}abc`],
    ['two lengths', `${head('POST /', 'Content-Length: 3', 'content-length: 3')}abc`],
    ['a list of lengths', `${head('POST /', 'Content-Length: 3, 3')}abc`],
    ['a length with a sign', `${head('POST /', 'Content-Length: +3')}abc`],
    ['a length of another base', `${head('POST /', 'Content-Length: 0x3')}abc`],
    ['a length with a blank in it', `${head('POST /', 'Content-Length: 0 3')}abc`],
    ['an empty length', head('POST /', 'Content-Length:')],
    ['a length beside a coding', head('POST /', 'Content-Length: 0', 'Transfer-Encoding: x')],
    ['a coding', head('GET /', 'Transfer-Encoding: chunked')],
    ['an expectation', head('GET /', 'EXPECT: 100-continue')],
    ['an upgrade', head('GET /', 'Upgrade: websocket')],
    ['an offer of HTTP/2', head('GET /', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA')],
    ['a connection that is to end', head('GET /', 'Connection: close')],
    ['a nominated field', head('GET /', 'Connection: keep-alive, X-A')],
    ['two Connection fields', head('GET /', 'Connection: keep-alive', 'connection: x')],
    ['the same of old proxies', head('GET /', 'Proxy-Connection: close')],
    ['very many fields', head('GET /', ...Array.from({ length: 100 }, (_, i) => `a${i}: b`))],
    ['nothing', ''],
  ])('has not %s', (_name, text) => {
    expect(read(text)).toBeUndefined()
  })

  test('that is hostile takes no longer than another of its length', () => {
    const startedAt = performance.now()
    for (const filler of [' ', '\t', 'a', ':', 'a:', 'a: ', 'a:\r\n', '\r', '\r\n'])
      read(`GET / HTTP/1.1\r\nHost: app\r\nX:${filler.repeat(65_000 / filler.length)}\n\r\n`)
    expect(performance.now() - startedAt).toBeLessThan(500)
  })
})

describe.each<Transport>(['TCP', 'TLS'])('over %s', name => {
  test('answers are octet by octet what Node would say', async () => {
    const cases = Object.keys(answers).flatMap(path =>
      (forBodies.includes(path) ? ['GET'] : ['GET', 'HEAD']).map(method => `${method} ${path}`),
    )
    const compare = async (line: string) => {
      const sent = head(line, 'Accept: */*')
      const [plain, node] = await Promise.all([answerTo(name, sent), answerTo(name, forNode(sent))])
      expect(plain, line).toBe(node)
      return plain
    }
    seen.length = 0
    const texts = await Promise.all(cases.map(compare))
    expect(seen.filter(({ isPlain }) => isPlain)).toHaveLength(cases.length)
    expect(seen.filter(({ isPlain }) => !isPlain)).toHaveLength(cases.length)
    const textOf = (line: string) => texts[cases.indexOf(line)]
    expect(textOf('GET /whole')).toContain('\r\nKeep-Alive: timeout=1\r\n')
    expect(textOf('GET /last')).toContain('\r\nConnection: close\r\n')
    expect(textOf('GET /never')).toBe('')
  })

  test('what the request path is given is what Node would give it', async () => {
    seen.length = 0
    const fields = [
      'Cookie: a=b; c="d e"',
      'cookie: f',
      'X-Empty:',
      'Accept-Language:   de, en ',
      'TE: trailers',
    ]
    const sent = [
      head('GET /whole?x=%2F;y', ...fields),
      `${head('PATCH /whole', 'Content-Length: 004', ...fields)}\0\r\n\xff`,
      head('POST /whole'),
    ]
    for (const text of sent) {
      seen.length = 0
      const plainly = await open(name)
      const byNode = await open(name)
      plainly.write(text, 'latin1')
      byNode.write(forNode(text), 'latin1')
      await expect.poll(() => seen.map(({ request }) => request.length)).toEqual([6, 6])
      const [plain, node] = seen.toSorted((a, b) => Number(b.isPlain) - Number(a.isPlain))
      expect([plain?.isPlain, node?.isPlain]).toEqual([true, false])
      expect(plain?.request).toEqual(node?.request)
      for (const socket of [plainly, byNode]) socket.destroy()
    }
  })

  test('a connection carries one after the other, and goes over to Node where one is not plain', async () => {
    seen.length = 0
    const socket = await open(name)
    const said = listen(socket)
    for (let i = 0; i < 3; i++) {
      socket.write(head(`GET /whole?${i}`))
      await expect.poll(() => said.text.split('whole').length - 1).toBe(i + 1)
    }
    const body = 'Content-Length: 3'
    for (const text of [
      `${head('POST /whole?3', body)}abc`,
      `${head('POST /whole?4', 'Transfer-Encoding: chunked')}1\r\na\r\n0\r\n\r\n`,
      head('GET /whole?5'),
    ]) {
      const before = said.text.split('whole').length
      socket.write(text)
      await expect.poll(() => said.text.split('whole').length).toBe(before + 1)
    }
    expect(seen.map(({ isPlain }) => isPlain)).toEqual([true, true, true, true, false, false])
    expect(seen.map(({ request }) => request[1])).toEqual(
      ['0', '1', '2', '3', '4', '5'].map(query => `/whole?${query}`),
    )
    socket.destroy()
  })

  test('an answer that could not be begun leaves its connection as it was', async () => {
    const socket = await open(name)
    const said = listen(socket)
    socket.write(head('GET /streamed-break'))
    await said.has('not sent')
    socket.write(head('GET /streamed-length'))
    await said.has('onetwo')
    const chunks = 'Transfer-Encoding: chunked'
    socket.write(`${head('POST /whole', chunks)}0\r\n\r\n${head('GET /last?of-node')}`)
    await said.has('last')
    expect(said.text).toContain('whole')
    socket.destroy()
  })

  test('what comes before an answer is out is read behind it, whatever it is', async () => {
    seen.length = 0
    const socket = await open(name)
    const said = listen(socket)
    const path = `/held-${name}`
    socket.write(head(`GET ${path}`))
    await expect.poll(() => held.has(path)).toBe(true)
    socket.write(head('GET /whole?1'))
    await pass(20)
    socket.write(`${head('POST /whole?2', 'Content-Length: 1')}x${head('GET /whole?3')}`)
    await pass(20)
    expect(said.text).toBe('')
    held.get(path)?.sendWhole(200, 'OK', [], Buffer.from('first'))
    await expect.poll(() => said.text.split('whole').length - 1).toBe(3)
    expect(said.text.indexOf('first')).toBeLessThan(said.text.indexOf('whole'))
    expect(seen.map(({ request }) => request[1])).toEqual([
      path,
      '/whole?1',
      '/whole?2',
      '/whole?3',
    ])
    socket.destroy()
  })

  test('whoever does not read is not answered any further', async () => {
    seen.length = 0
    const socket = await open(name)
    socket.pause()
    for (let i = 0; i < 400; i++) {
      socket.write(head(`GET /large?${i}`))
      await pass(1)
    }
    expect(seen.length).toBeLessThan(100)
    socket.resume()
    await expect.poll(() => seen.length).toBe(400)
    socket.destroy()
  })

  test('behind the last answer of a connection nothing is taken any more (RFC 9112 §9.6)', async () => {
    seen.length = 0
    const socket = await open(name)
    const path = `/held-last-${name}`
    socket.write(head(`GET ${path}`))
    await expect.poll(() => held.has(path)).toBe(true)
    // It takes its time to be out.
    socket.pause()
    const res = held.get(path) as ClientResponse
    res.closeConnection()
    res.sendWhole(200, 'OK', [], endless)
    socket.write(head('GET /whole?late'))
    await pass(50)
    const said = listen(socket)
    socket.resume()
    await once(socket, 'close')
    expect(said.text.length).toBeGreaterThan(endless.length)
    expect(seen.map(({ request }) => request[1])).toEqual([path])
  })

  test('a client that leaves is noticed, once, before and within an answer', async () => {
    for (const begins of [false, true]) {
      const socket = await open(name)
      const path = `/left-${name}-${begins}`
      socket.write(head(`GET ${path}`))
      await expect.poll(() => held.has(path)).toBe(true)
      const res = held.get(path) as ClientResponse
      let closes = 0
      res.on('close', () => closes++)
      if (begins) res.sendHead(200, 'OK', [])
      expect(res.isGone).toBe(false)
      socket.destroy()
      await expect.poll(() => closes).toBe(1)
      expect(res.isGone).toBe(true)
      if (begins) res.endWith([])
      else res.sendWhole(200, 'OK', [], Buffer.from('nobody'))
      await pass(10)
      expect(closes).toBe(1)
    }
  })

  test('an answer that streams waits for a client that does not read, and goes on with it', async () => {
    const socket = await open(name)
    socket.pause()
    const path = `/slow-${name}`
    socket.write(head(`GET ${path}`))
    await expect.poll(() => held.has(path)).toBe(true)
    const res = held.get(path) as ClientResponse
    res.sendHead(200, 'OK', [])
    let drains = 0
    res.on('drain', () => drains++)
    // More than all buffers between the two hold.
    for (let i = 0; i < 100; i++) res.write(big)
    await pass(50)
    expect(drains).toBe(0)
    socket.resume()
    await expect.poll(() => drains).toBe(1)
    res.endWith([])
    socket.destroy()
  })
})

test('a front that stops answers the request under way as the last of its connection', async () => {
  const front = createFront({ listener })
  const port = await front.listen('127.0.0.1', 0)
  const [idle, busy] = [await openConnection(port, 'TCP'), await openConnection(port, 'TCP')]
  const idleSaid = listen(idle)
  const busySaid = listen(busy)
  idle.write(head('GET /whole'))
  await idleSaid.has('whole')
  busy.write(head('GET /held-stopping'))
  await expect.poll(() => held.has('/held-stopping')).toBe(true)
  const closed = front.close()
  idle.write(head('GET /whole?again'))
  await idleSaid.has('Connection: close')
  await pass(600)
  expect(busy.closed).toBe(false)
  held.get('/held-stopping')?.sendWhole(200, 'OK', [], Buffer.from('at last'))
  await busySaid.has('at last')
  await closed
})

test('a front that stops lets a slow client take its last answer', async () => {
  const front = createFront({ listener })
  const socket = await openConnection(await front.listen('127.0.0.1', 0), 'TCP')
  socket.write(head('GET /held-slow'))
  await expect.poll(() => held.has('/held-slow')).toBe(true)
  socket.pause()
  held.get('/held-slow')?.sendWhole(200, 'OK', [], endless)
  const closed = front.close()
  await pass(800)
  const said = listen(socket)
  socket.resume()
  await expect.poll(() => said.text.length).toBeGreaterThan(endless.length)
  await closed
})
