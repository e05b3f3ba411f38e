/**
 * The Remote Desktop Gateway's HTTP (MS-TSGU): methods that no HTTP library knows, signing in to the connection, and
 * bodies without end both ways. The origin is scripted, the client speaks in bytes.
 */

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { administer } from '../harness/admin.ts'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import { connectRaw, exchangeRaw, type RawConnection } from '../harness/client.ts'
import { followAudit, liveAccess } from '../harness/live-audit.ts'
import { type RdgOrigin, seed, startRdgOrigin } from '../harness/rdg-origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

let origin: RdgOrigin
let system: TestSystem

const methods = ['RDG_IN_DATA', 'RDG_OUT_DATA', 'RPC_IN_DATA', 'RPC_OUT_DATA']
const allow = (name: string, allowedHttpMethods: readonly string[]) =>
  administer(system, 'PATCH', `/applications/${name}/onPremisesPublishing`, { allowedHttpMethods })

beforeAll(async () => {
  origin = await startRdgOrigin()
  const { url: internalUrl } = origin
  const open = { displayName: 'Desktops', internalUrl, access: 'passthrough' } as const
  system = await startSystem({
    publish: [
      { ...open, name: 'desktops' },
      { ...open, name: 'ordinary' },
      signedInApplication('inside', internalUrl),
    ],
  })
  for (const name of ['inside', 'desktops']) await allow(name, ['GET', 'POST', ...methods])
  // In force once the first of two requests passes, which the second one may not follow.
  const two = head('RDG_IN_DATA', path, 'Content-Length: 0') + head('GET')
  const isRefused = async () =>
    expect(await exchangeRaw(gateway(), two)).toContain('400 Bad Request')
  await vi.waitFor(isRefused, { timeout: 10_000 })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const gateway = () => system.gatewayUrls[0] as string
const hostOf = (name: string) => `${name}.sallyport.localhost:${system.port}`
const path = '/remoteDesktopGateway/'

function head(method: string, target = path, ...more: string[]): string {
  const host = more.find(line => line.startsWith('Host:')) ?? `Host: ${hostOf('desktops')}`
  const fields = more.filter(line => line !== host)
  return `${[`${method} ${target} HTTP/1.1`, host, ...fields].join('\r\n')}\r\n\r\n`
}
const id = (name: string) => `RDG-Connection-Id: {${name}}`
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-Websocket-Key: K[QKJIBVNNZU\\AS']

async function send(text: string): Promise<RawConnection> {
  const connection = await connectRaw(gateway())
  connection.write(text)
  return connection
}
const noneLeft = () => expect.poll(() => origin.open, { timeout: 5_000 }).toBe(0)

describe('the two channels', () => {
  test('carry what goes into one out of the other, without end and without waiting', async () => {
    using out = await send(head('RDG_OUT_DATA', path, id('both'), 'Content-Length: 0'))
    expect(await out.until(new RegExp(seed))).toMatch(/^HTTP\/1\.1 200 OK\r\nDate: now\r\n\r\nseed/)
    using into = await send(head('RDG_IN_DATA', path, id('both'), 'Content-Length: 0'))
    await into.until(/^HTTP\/1\.1 200 OK\r\nContent-Length: 0\r\n\r\n$/)
    into.write(head('RDG_IN_DATA', path, id('both'), 'Transfer-Encoding: chunked') + chunk('one'))
    await out.until(/seed-3\r\none\r\n$/)
    into.write(chunk('two'))
    await out.until(/3\r\ntwo\r\n$/)
    into.socket.destroy()
    out.socket.destroy()
    await noneLeft()
  })

  test('carry megabytes unchanged to somebody who reads late', async () => {
    using out = await send(head('RDG_OUT_DATA', path, id('much'), 'Content-Length: 0'))
    await out.until(new RegExp(seed))
    out.socket.pause()
    using into = await send(head('RDG_IN_DATA', path, id('much'), 'Transfer-Encoding: chunked'))
    const body = bodyOf(4_000_000)
    into.socket.write(`${body.length.toString(16)}\r\n`)
    into.socket.write(body)
    into.write('\r\n')
    await expect.poll(() => into.socket.bytesWritten).toBeGreaterThan(body.length)
    out.socket.resume()
    const all = await out.until(/\r\n$/)
    const [, bytes = ''] = all.split(`${seed}${body.length.toString(16)}\r\n`)
    await expect.poll(() => out.received.length - all.length + bytes.length).toBe(body.length + 2)
    expect(digestOf(Buffer.from(out.received.slice(-body.length - 2, -2), 'latin1'))).toEqual(
      digestOf(body),
    )
  })

  test('are one WebSocket where the client asks for it, with a key that is none', async () => {
    using socket = await send(head('RDG_OUT_DATA', path, id('ws'), ...upgrade))
    await socket.until(/^HTTP\/1\.1 101 Switching Protocols\r\n.*\r\n\r\n$/s)
    expect(origin.heads.at(-1)).toContain('Sec-Websocket-Key: K[QKJIBVNNZU\\AS')
    expect(origin.heads.at(-1)).toMatch(/^Connection: Upgrade\r\nUpgrade: websocket$/m)
    socket.write('GET /looks HTTP/1.1\r\n\r\n')
    await socket.until(/echo GET \/looks HTTP\/1\.1\r\n\r\n$/)
  })

  test('are one WebSocket of which the first bytes may come with the request', async () => {
    using socket = await send(`${head('RDG_OUT_DATA', path, id('early'), ...upgrade)}early\r\n\r\n`)
    await socket.until(/101 Switching Protocols\r\n.*echo early\r\n\r\n$/s)
  })

  test('of the older transport carry a request of a gigabyte that has no answer', async () => {
    const target = '/rpc/rpcproxy.dll?host:3388'
    using into = await send(head('RPC_IN_DATA', target, 'Content-Length: 1073741824'))
    into.write('first bytes')
    await into.until(/^first bytes$/)
    into.write(', more')
    await into.until(/^first bytes, more$/)
  })
})

describe('a client that signs in to its connection', () => {
  const target = `${path}signs-in`

  test('keeps one connection to the origin for all legs, and what only we may say stays ours', async () => {
    const [before, heads] = [origin.connected, origin.heads.length]
    const spoofed = ['X-Sallyport-User: admin', 'x_forwarded_for: 6.6.6.6', 'Via: 1.1 mine']
    const ours = 'Cookie: a=1; __Host-sallyport=secret'
    using out = await send(head('RDG_OUT_DATA', target, ...spoofed, ours, 'Content-Length: 0'))
    await out.until(/NTLM ask-1\r\nContent-Length: 4\r\n\r\nleg1$/)
    out.write(head('RDG_OUT_DATA', target, ...spoofed, ours, 'Authorization: NTLM leg-1'))
    await out.until(/NTLM ask-2\r\nContent-Length: 4\r\n\r\nleg2$/)
    out.write(head('RDG_OUT_DATA', target, ...spoofed, ours, 'Authorization: NTLM leg-2'))
    await out.until(/200 OK\r\nDate: now\r\n\r\nseed/)
    expect(origin.connected - before).toBe(1)
    const legs = origin.heads.slice(heads)
    expect(legs).toHaveLength(3)
    for (const leg of legs) {
      expect(leg).toContain(`\r\nHost: ${new URL(origin.url).host}`)
      expect(leg).toContain('\r\nX-Forwarded-For: 127.0.0.1\r\n')
      expect(leg).toMatch(/^via: 1\.1 sallyport$/im)
      expect(leg).toMatch(/^Cookie: a=1$/m)
      expect(leg).not.toMatch(/admin|6\.6\.6\.6|secret/)
    }
  })

  test('may sign in with the upgrade, too', async () => {
    using socket = await send(head('RDG_OUT_DATA', target, ...upgrade))
    await socket.until(/leg1$/)
    socket.write(head('RDG_OUT_DATA', target, ...upgrade, 'Authorization: NTLM leg-1'))
    await socket.until(/leg2$/)
    socket.write(head('RDG_OUT_DATA', target, ...upgrade, 'Authorization: NTLM leg-2'))
    await socket.until(/101 Switching Protocols\r\n.*\r\n\r\n$/s)
    socket.write('bytes')
    await socket.until(/echo bytes$/)
  })

  test('may send its legs without waiting for the answers', async () => {
    const legs = ['', 'Authorization: NTLM leg-1', 'Authorization: NTLM leg-2']
    const text = legs.map(leg => head('RDG_OUT_DATA', target, ...(leg ? [leg] : []))).join('')
    using out = await send(text)
    expect(await out.until(new RegExp(seed))).toMatch(/leg1HTTP.*leg2HTTP.*seed/s)
  })
})

describe('what follows on the connection and is not of its kind', () => {
  const first = () => head('RDG_IN_DATA', path, 'Content-Length: 0')
  const evil = (...more: string[]) => head('RDG_IN_DATA', '/admin/', ...more)

  test.each<[string, () => string]>([
    ['another method', () => head('GET')],
    ['another family', () => head('RPC_IN_DATA')],
    ['a method that is not allowed', () => head('RDG_OTHER')],
    ['another path', () => evil()],
    ['a path above', () => head('RDG_IN_DATA', `${path}../admin/`)],
    ['another host', () => head('RDG_IN_DATA', path, 'Host: other.sallyport.localhost')],
    ['two hosts', () => first().replace('\r\n', `\r\nHost: ${hostOf('desktops')}\r\n`)],
    ['two credentials', () => head('RDG_IN_DATA', path, 'Authorization: a', 'Authorization: b')],
    ['two lengths', () => head('RDG_IN_DATA', path, 'Content-Length: 1', 'Content-Length: 2')],
    [
      'length and chunks',
      () => head('RDG_IN_DATA', path, 'Content-Length: 1', 'Transfer-Encoding: chunked'),
    ],
    [
      'an upgrade with a body',
      () => `${head('RDG_IN_DATA', path, ...upgrade, 'Content-Length: 1')}x`,
    ],
    ['an absolute target', () => head('RDG_IN_DATA', `http://${hostOf('desktops')}${path}`)],
    ['a folded line', () => head('RDG_IN_DATA', path, 'X: a\r\n b')],
    ['a bare LF', () => head('RDG_IN_DATA', path, 'X: a\nX-Sallyport-User: admin')],
    ['what is no HTTP', () => 'garbage\r\n\r\n'],
    ['a head without end', () => `RDG_IN_DATA ${path} HTTP/1.1\r\nX: ${'x'.repeat(70_000)}`],
  ])('%s is refused and never reaches the origin', async (_what, text) => {
    using connection = await send(first())
    await connection.until(/Content-Length: 0\r\n\r\n$/)
    const before = origin.heads.length
    connection.write(text())
    expect(await connection.closed).toMatch(/HTTP\/1\.1 400 Bad Request\r\n/)
    expect(origin.heads.length).toBe(before)
  })

  test.each<[string, () => string]>([
    [
      'a body with a length',
      () => `${head('RDG_IN_DATA', path, 'Content-Length: 4')}body${evil()}`,
    ],
    [
      'a chunked body',
      () =>
        `${head('RDG_IN_DATA', path, 'Transfer-Encoding: chunked')}${chunk('body')}0\r\n\r\n${evil()}`,
    ],
    [
      'a chunk that is longer than it says',
      () =>
        `${head('RDG_IN_DATA', path, 'Transfer-Encoding: chunked')}1\r\nbody\r\n0\r\n\r\n${evil()}`,
    ],
    [
      'trailers',
      () =>
        `${head('RDG_IN_DATA', path, 'Transfer-Encoding: chunked')}0\r\nX-Sallyport-User: admin\r\n\r\n`,
    ],
    [
      'an upgrade that the origin declines',
      () => head('RDG_OUT_DATA', `${path}declines`, ...upgrade) + evil(),
    ],
  ])('cannot be hidden behind %s', async (_what, text) => {
    const before = origin.heads.length
    using connection = await send(text())
    expect(await connection.closed).toContain('400 Bad Request')
    expect(origin.heads.slice(before).join()).not.toMatch(/admin/)
  })
})

describe('a first request', () => {
  test.each<[string, () => string, RegExp]>([
    [
      'of an application that has not named its method',
      () => head('RDG_OUT_DATA', path, `Host: ${hostOf('ordinary')}`),
      /^HTTP\/1\.1 405 .*Allow: .*PROPFIND.*"method_not_allowed"/s,
    ],
    [
      'to nobody',
      () => head('RDG_OUT_DATA', path, `Host: ${hostOf('nobody')}`),
      /^HTTP\/1\.1 404 .*"unknown_host"/s,
    ],
    [
      'by a method that nobody knows',
      () => head('RDX'),
      /^HTTP\/1\.1 501 .*"method_not_implemented"/s,
    ],
    [
      'without a session where one is needed',
      () => head('RDG_OUT_DATA', path, `Host: ${hostOf('inside')}`),
      /^HTTP\/1\.1 401 .*"unauthenticated"/s,
    ],
    [
      'for a path that can be read in two ways',
      () => head('RDG_OUT_DATA', '/a/../b'),
      /^HTTP\/1\.1 400 .*"ambiguous_path"/s,
    ],
    [
      'with two kinds of framing',
      () => head('RDG_IN_DATA', path, 'Content-Length: 1', 'Transfer-Encoding: chunked'),
      /^HTTP\/1\.1 400 .*"bad_request"/s,
    ],
    [
      'with a head that is too long',
      () => head('RDG_IN_DATA', path, `X: ${'x'.repeat(70_000)}`),
      /^HTTP\/1\.1 431 .*"headers_too_large"/s,
    ],
    [
      'of HTTP/1.0',
      () => head('RDG_IN_DATA').replace('1.1', '1.0'),
      /^HTTP\/1\.1 400 .*"bad_request"/s,
    ],
  ])('%s is told so', async (_what, text, expected) => {
    const before = origin.heads.length
    expect(await exchangeRaw(gateway(), text())).toMatch(expected)
    expect(origin.heads.length).toBe(before)
  })

  test('of somebody who is signed in goes on, without our cookie, and is recorded', async () => {
    const events = await followAudit(system)
    const { headers } = await signInTo(system, 'inside')
    using out = await send(
      head('RDG_OUT_DATA', path, `Host: ${headers.host}`, `Cookie: ${headers.cookie}`),
    )
    await out.until(new RegExp(seed))
    expect(origin.heads.at(-1)).not.toContain('sallyport=')
    out.socket.destroy()
    // What was refused before may be recorded only now.
    const ended = () =>
      liveAccess(events).find(({ method, user }) => method === 'RDG_OUT_DATA' && user !== null)
    await expect.poll(ended).toMatchObject({
      outcome: 'granted',
      status: 200,
      application: 'inside',
      user: 'alice@sallyport.example',
      path,
    })
  })

  test.each([
    ['of the latest answer', [], 'signs-in', /401.*leg1$/s, 401],
    ['of an upgrade that the origin declines', upgrade, 'declines', /403.*no$/s, 403],
    ['of a switch of protocols', upgrade, 'switches', /101 Switching/, 101],
    ['of a connection that it never answers', [], 'silent', /^$/, 101],
  ])('is recorded with the status %s', async (_what, fields, name, expected, status) => {
    const events = await followAudit(system)
    using out = await send(head('RDG_OUT_DATA', path + name, id(name), ...fields))
    await out.until(expected)
    await expect.poll(() => origin.heads.at(-1)).toContain(name)
    out.socket.destroy()
    const ended = () => liveAccess(events).filter(event => event.path === path + name)
    await expect.poll(ended).toMatchObject([{ outcome: 'granted', status }])
  })

  test('arrives octet by octet as well', async () => {
    using out = await connectRaw(gateway())
    out.socket.setNoDelay(true)
    for (const octet of head('RDG_OUT_DATA', path, id('slow'))) {
      await new Promise(resolve => out.socket.write(octet, resolve))
    }
    await out.until(new RegExp(seed))
  })

  test('leaves nothing behind when client or origin goes away', async () => {
    using gone = await send(head('RDG_OUT_DATA', path, id('gone')))
    await gone.until(new RegExp(seed))
    gone.socket.resetAndDestroy()
    using left = await send(head('RDG_OUT_DATA', path, id('left')))
    await left.until(new RegExp(seed))
    using into = await send(head('RDG_IN_DATA', path, id('left'), 'Transfer-Encoding: chunked'))
    into.socket.end()
    left.socket.end()
    await left.closed
    await noneLeft()
  })
})
