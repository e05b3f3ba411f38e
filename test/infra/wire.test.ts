/** The exchange protocol: golden vectors (a change of them is a change of the protocol) and everything malformed. */

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { decodeBatch, encodeBatch } from '#infra/frame-batch.ts'
import {
  decodeDown,
  decodeRequest,
  decodeUp,
  encodeAccepted,
  encodeCancel,
  encodeCredit,
  encodeData,
  encodeEnd,
  encodeInformation,
  encodeLease,
  encodeRefused,
  encodeRequest,
  encodeResponse,
} from '#infra/frames.ts'
import { leaseReference, WireError } from '#infra/wire.ts'

const vectors: Record<string, string> = JSON.parse(
  readFileSync(new URL('../vectors/frames.json', import.meta.url), 'utf8'),
)

const request = {
  gatewayId: 'gw01',
  exchangeId: 'gw011',
  startBeforeMs: 1_790_000_000_000,
  lease: 'aaa.bbb.ccc',
  isLeaseReference: false,
  method: 'POST',
  target: '/a?b=ü'.normalize('NFC'),
  headers: ['Host', 'wiki.example', 'X-Twice', '1', 'X-Twice', '2', 'X-Latin', 'caf\u00e9'],
  body: Buffer.from('hello'),
  bodyFollows: true,
  isUpgrade: false,
}
const response = {
  status: 207,
  reason: 'Multi-Status',
  headers: ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2, c'],
  body: Buffer.from([0, 1, 2, 255]),
  bodyFollows: false,
  isUpgrade: false,
}
const frames: Record<string, Buffer> = {
  request: encodeRequest(request),
  response: encodeResponse(response),
  data: encodeData(Buffer.from('data')),
  end: encodeEnd(2 ** 40, ['grpc-status', '0']),
  credit: encodeCredit(262_144),
  cancel: encodeCancel('connector_lost', 'gone'),
  lease: encodeLease('aaa.bbb.ccc'),
  accepted: encodeAccepted(),
  information: encodeInformation(103, ['Link', '</a.css>; rel=preload']),
  refused: encodeRefused('busy', '128 open', true),
  rawRequest: encodeRequest({ ...request, isUpgrade: true, isRaw: true }),
}

const batched = [
  { exchangeId: 'gw011', frame: encodeAccepted() },
  { exchangeId: 'gw012', frame: encodeData(Buffer.from('data')) },
]
frames.batch = encodeBatch(batched)
frames.requestByReference = encodeRequest({ ...request, lease: 'ccc', isLeaseReference: true })

describe('golden frames', () => {
  test.each(Object.keys(frames))('%s is encoded byte for byte as in version 1', name => {
    expect(frames[name]?.toString('base64')).toBe(vectors[name])
  })

  test('a request comes back with order, duplicates and octets of its headers', () => {
    const decoded = decodeRequest(Buffer.from(vectors.request as string, 'base64'))
    expect(decoded).toMatchObject({ ...request, version: 1, type: 'request' })
  })

  test('a raw request is an upgrade with one flag more, which whoever does not know it leaves alone', () => {
    const message = Buffer.from(vectors.rawRequest as string, 'base64')
    expect(decodeRequest(message)).toMatchObject({ isUpgrade: true, isRaw: true })
    const unknown = Buffer.from(message)
    unknown[2] = 0xfa
    expect(decodeRequest(unknown)).toMatchObject({
      isUpgrade: true,
      isRaw: false,
      target: '/a?b=ü',
    })
  })

  test('a request may name its lease in place of carrying it', () => {
    const message = Buffer.from(vectors.requestByReference as string, 'base64')
    expect(decodeRequest(message)).toMatchObject({ lease: 'ccc', isLeaseReference: true })
    const lease = `aaa.bbb.${'0123456789'.repeat(8)}`
    expect(leaseReference(lease)).toBe('0123456789012345678901')
  })

  test('a batch comes back with its frames in order', () => {
    expect(decodeBatch(Buffer.from(vectors.batch as string, 'base64'))).toEqual(batched)
  })

  test('a response comes back with separate Set-Cookie lines and a binary body', () => {
    expect(decodeUp(Buffer.from(vectors.response as string, 'base64'))).toMatchObject(response)
  })

  test('every other frame comes back as it was', () => {
    expect(decodeUp(frames.data as Buffer)).toEqual({ type: 'data', data: Buffer.from('data') })
    expect(decodeUp(frames.end as Buffer)).toEqual({
      type: 'end',
      bodyBytes: 2 ** 40,
      trailers: ['grpc-status', '0'],
    })
    expect(decodeDown(frames.credit as Buffer)).toEqual({ type: 'credit', bytes: 262_144 })
    expect(decodeDown(frames.cancel as Buffer)).toEqual({
      type: 'cancel',
      code: 'connector_lost',
      detail: 'gone',
    })
    expect(decodeDown(frames.lease as Buffer)).toEqual({ type: 'lease', lease: 'aaa.bbb.ccc' })
    expect(decodeUp(frames.accepted as Buffer)).toEqual({ type: 'accepted' })
    expect(decodeUp(frames.information as Buffer)).toMatchObject({ status: 103 })
    expect(decodeUp(frames.refused as Buffer)).toEqual({
      type: 'refused',
      code: 'busy',
      detail: '128 open',
      neverStarted: true,
    })
  })
})

test('flags that are not known yet say nothing', () => {
  const refused = Buffer.from(frames.refused as Buffer)
  refused[1] = 0x81
  expect(decodeUp(refused)).toMatchObject({ neverStarted: true })
  refused[1] = 0x80
  expect(decodeUp(refused)).toMatchObject({ neverStarted: false })
  const asked = Buffer.from(frames.request as Buffer)
  asked[2] = 0xf1
  expect(decodeRequest(asked)).toMatchObject({ bodyFollows: true, isUpgrade: false })
})

describe('what is no frame is refused', () => {
  const ofNewerVersion = Buffer.from(frames.request as Buffer)
  ofNewerVersion[1] = 9
  const headTooLong = Buffer.from(frames.request as Buffer)
  headTooLong.writeUInt32BE(0xff_ff_ff_ff, 3)

  test.each([
    ['an empty request', Buffer.alloc(0)],
    ['a request of an unknown version', ofNewerVersion],
    ['a head that is longer than the message', headTooLong],
    ['a request cut short', (frames.request as Buffer).subarray(0, 12)],
    ['a response in place of a request', frames.response as Buffer],
    [
      'a header name without a value',
      encodeRequest({ ...request, headers: ['Host', 'wiki.example', 'X-Lonely'] }),
    ],
    [
      'a request whose id would not fit into a batch',
      encodeRequest({ ...request, exchangeId: 'x'.repeat(256) }),
    ],
    ['a request without a method', encodeRequest({ ...request, method: '' })],
  ])('%s', (_name, message) => {
    expect(() => decodeRequest(message)).toThrow(WireError)
  })

  test.each([
    ['an accepted', encodeAccepted()],
    ['a batch that ends within an exchange id', Buffer.from([21, 5, 103])],
    ['a batch that ends within a length', Buffer.from([21, 1, 103, 0, 0])],
    ['a batch that ends within a frame', (frames.batch as Buffer).subarray(0, -1)],
  ])('%s in place of a batch', (_name, message) => {
    expect(() => decodeBatch(message)).toThrow(WireError)
  })

  test.each([
    ['an empty message', Buffer.alloc(0)],
    ['an unknown type', Buffer.from([99])],
    ['a response cut short', Buffer.from([17, 0, 0])],
    ['a response with status 0', encodeResponse({ ...response, status: 0 })],
    ['a response that is an interim one', encodeResponse({ ...response, status: 103 })],
    ['a switch of protocols that is none', encodeResponse({ ...response, status: 101 })],
    ['one of another status', encodeResponse({ ...response, status: 200, isUpgrade: true })],
    ['an end without a length', Buffer.from([3, 0])],
    ['a credit of three bytes', Buffer.from([4, 0, 0, 1])],
    ['a lease, which connectors do not send', frames.lease as Buffer],
  ])('%s from a connector', (_name, message) => {
    expect(() => decodeUp(message)).toThrow(WireError)
  })
})

test('details lose what could break a log line or a header', () => {
  const frame = decodeDown(encodeCancel('internal', 'a\r\nb\u0000c\u2028d'))
  expect(frame).toEqual({ type: 'cancel', code: 'internal', detail: 'a??b?c?d' })
})
