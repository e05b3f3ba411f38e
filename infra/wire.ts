/**
 * The exchange protocol: one HTTP request with its response (or one upgraded connection) between a gateway and a
 * connector, as binary messages on the bus. Gateway and connector import this file; it imports neither.
 *
 *   gateway                          bus                         connector
 *      │ REQUEST   exchange.<group>.<app>  (queue group)             │
 *      │────────────────────────────────────────────────────────────►│  origin
 *      │ RESPONSE, whole            up.<connector>.<gateway>.<id>    │◄──────►
 *      │◄────────────────────────────────────────────────────────────│
 *
 *   A small exchange is exactly these two messages. Otherwise, on the subjects `up` and `down.<connector>.<id>`:
 *
 *      │◄── ACCEPTED            still working: 250 ms without another answer
 *      │◄── REFUSED             never started (busy, not ready, not informed, lease unknown, expired) or failed before the response head
 *      │◄── INFORMATION         a 1xx response; or, on a raw connection, that an answer of this status goes by in its DATA
 *      │◄── RESPONSE + more     head and first bytes; DATA … END follow
 *      │◄─► DATA                bytes of the request or response body, or of an upgraded connection
 *      │◄─► CREDIT              the receiver takes so many more bytes
 *      │◄─► END                 the body is complete; carries its length, so that a loss is noticed, and trailers
 *      │◄─► CANCEL              broken off, with a fault code
 *      │──► LEASE               a renewed access lease, for exchanges that outlive the first one
 *      │──► BULK                DATA may go by a connection of its own (bulk.ts), which this key opens once
 *
 * Layout. Integers are big-endian. A `head` is Latin-1 text (the octets of HTTP fields), its items separated by NUL,
 * which no HTTP field may contain.
 *
 *   REQUEST      u8 1  u8 version  u8 flags  u32 head octets  head  body
 *                head: gateway id, exchange id, start-before (Unix ms, base 36), lease or reference to one that this
 *                connector has verified before (see flags), method, target, name, value, …
 *   DATA         u8 2  octets
 *   END          u8 3  f64 body octets  head: trailer name, value, …
 *   CREDIT       u8 4  u32 octets
 *   CANCEL       u8 5  head: fault code, detail
 *   LEASE        u8 6  lease
 *   BULK         u8 7  key
 *   RESPONSE     u8 17  u8 flags  u16 status  u32 head octets  head  body
 *                head: reason phrase, name, value, …
 *   ACCEPTED     u8 18
 *   INFORMATION  u8 19  u16 status  head: name, value, …
 *   REFUSED      u8 20  u8 flags  head: code, detail
 *   BATCH        u8 21  { u8 octets  exchange id  u32 octets  frame } …
 *                frames of several exchanges from one connector to one gateway, in their order; its subject has `-` in
 *                place of an exchange
 *
 * Flags of a REQUEST: 1 body follows, 2 upgrade, 4 raw (see RequestFrame). Unknown ones are ignored.
 *
 * Version history: 1 is the first.
 */

export const wireVersion = 1

export const frameTypes = {
  request: 1,
  data: 2,
  end: 3,
  credit: 4,
  cancel: 5,
  lease: 6,
  bulk: 7,
  response: 17,
  accepted: 18,
  information: 19,
  refused: 20,
  batch: 21,
} as const

/** A body up to this size travels in the same message as its head. */
export const singleMessageBytes = 64 * 1024

/** Largest DATA payload; a longer chunk is cut. */
export const chunkBytes = 64 * 1024

/** What a sender may send before the first CREDIT arrives. */
export const initialCreditBytes = 256 * 1024

/** A connector that has no answer yet says ACCEPTED after this time … */
export const acceptAfterMs = 250
/** … and one that has said nothing at all after this time counts as lost. */
export const lostAfterMs = 1_000

const bodyFollows = 1
const upgrade = 2
const raw = 4
const leaseIsReference = 8
const neverStarted = 1

/** Of the characters of a lease that stand for it: the first of its signature, 132 bits that nobody can foresee. */
const referenceChars = 22

/** What stands for a lease that a connector has seen: nothing that could be guessed or made up. */
export function leaseReference(lease: string): string {
  const signature = lease.lastIndexOf('.') + 1
  return lease.slice(signature, signature + referenceChars)
}

export interface RequestFrame {
  readonly type: 'request'
  readonly version: number
  readonly gatewayId: string
  readonly exchangeId: string
  /** Unix time in ms after which nothing may be started any more. */
  readonly startBeforeMs: number
  readonly lease: string
  /** The lease is named by its reference only; a connector that does not know it refuses with `lease_unknown`. */
  readonly isLeaseReference: boolean
  readonly method: string
  readonly target: string
  /** Names and values in turn, as received, order and duplicates kept. */
  readonly headers: readonly string[]
  readonly body: Buffer
  readonly bodyFollows: boolean
  readonly isUpgrade: boolean
  /**
   * Of an upgrade: the connection of the client goes on as bytes without an answer of our own, further requests of the
   * same kind included. A connector that does not know this flag serves the first request alone.
   */
  readonly isRaw?: boolean
}

export interface ResponseFrame {
  readonly type: 'response'
  readonly status: number
  readonly reason: string
  readonly headers: readonly string[]
  readonly body: Buffer
  readonly bodyFollows: boolean
  readonly isUpgrade: boolean
}

export interface RefusedFrame {
  readonly type: 'refused'
  readonly code: string
  readonly detail: string
  readonly neverStarted: boolean
}

export type DownFrame =
  | { readonly type: 'data'; readonly data: Buffer }
  | { readonly type: 'end'; readonly bodyBytes: number; readonly trailers: readonly string[] }
  | { readonly type: 'credit'; readonly bytes: number }
  | { readonly type: 'cancel'; readonly code: string; readonly detail: string }
  | { readonly type: 'lease'; readonly lease: string }
  | { readonly type: 'bulk'; readonly key: string }

export type UpFrame =
  | Exclude<DownFrame, { type: 'lease' | 'bulk' }>
  | ResponseFrame
  | RefusedFrame
  | { readonly type: 'accepted' }
  | { readonly type: 'information'; readonly status: number; readonly headers: readonly string[] }

/** A message that is not a frame of this protocol. */
export class WireError extends Error {
  override name = 'WireError'
}

const separator = '\0'
const noBytes = Buffer.alloc(0)

function join(items: readonly string[]): string {
  return items.join(separator)
}

function split(text: string): string[] {
  return text === '' ? [] : text.split(separator)
}

export function encodeRequest(frame: Omit<RequestFrame, 'type' | 'version'>): Buffer {
  const { gatewayId, exchangeId, startBeforeMs, lease, method, target, headers, body } = frame
  const fixed = `${gatewayId}\0${exchangeId}\0${startBeforeMs.toString(36)}\0${lease}\0${method}\0${target}`
  const head = headers.length === 0 ? fixed : `${fixed}\0${join(headers)}`
  const message = Buffer.allocUnsafe(7 + head.length + body.length)
  message[0] = frameTypes.request
  message[1] = wireVersion
  message[2] =
    (frame.bodyFollows ? bodyFollows : 0) |
    (frame.isUpgrade ? upgrade : 0) |
    (frame.isRaw ? raw : 0) |
    (frame.isLeaseReference ? leaseIsReference : 0)
  message.writeUInt32BE(head.length, 3)
  message.write(head, 7, 'latin1')
  if (body.length > 0) message.set(body, 7 + head.length)
  return message
}

export function decodeRequest(message: Buffer): RequestFrame {
  if (message[0] !== frameTypes.request) throw new WireError(`not a request: type ${message[0]}`)
  const version = message[1] ?? 0
  if (version !== wireVersion) throw new WireError(`request of version ${version}`)
  const flags = message[2] ?? 0
  const { head, body } = headAndBody(message, 3)
  const items = split(head)
  const [gatewayId, exchangeId, startBefore, lease, method, target] = items
  if (!gatewayId || !exchangeId || !startBefore || lease === undefined || !method || !target) {
    throw new WireError('request with an incomplete head')
  }
  const startBeforeMs = Number.parseInt(startBefore, 36)
  if (!Number.isSafeInteger(startBeforeMs)) throw new WireError('request without a start time')
  return {
    type: 'request',
    version,
    gatewayId,
    exchangeId,
    startBeforeMs,
    lease,
    isLeaseReference: (flags & leaseIsReference) !== 0,
    method,
    target,
    headers: pairs(items.slice(6)),
    body,
    bodyFollows: (flags & bodyFollows) !== 0,
    isUpgrade: (flags & upgrade) !== 0,
    isRaw: (flags & raw) !== 0,
  }
}

export function encodeResponse(frame: Omit<ResponseFrame, 'type'>): Buffer {
  const { status, reason, headers, body } = frame
  const head = headers.length === 0 ? reason : `${reason}\0${join(headers)}`
  const message = Buffer.allocUnsafe(8 + head.length + body.length)
  message[0] = frameTypes.response
  message[1] = (frame.bodyFollows ? bodyFollows : 0) | (frame.isUpgrade ? upgrade : 0)
  message.writeUInt16BE(status, 2)
  message.writeUInt32BE(head.length, 4)
  message.write(head, 8, 'latin1')
  if (body.length > 0) message.set(body, 8 + head.length)
  return message
}

function decodeResponse(message: Buffer): ResponseFrame {
  if (message.length < 8) throw new WireError('response cut short')
  const flags = message[1] ?? 0
  const status = message.readUInt16BE(2)
  if (status < 100 || status > 999) throw new WireError(`response with status ${status}`)
  const { head, body } = headAndBody(message, 4)
  const items = head.split(separator)
  return {
    type: 'response',
    status,
    reason: items[0] ?? '',
    headers: pairs(items.slice(1)),
    body,
    bodyFollows: (flags & bodyFollows) !== 0,
    isUpgrade: (flags & upgrade) !== 0,
  }
}

export function encodeData(data: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(1 + data.length)
  message[0] = frameTypes.data
  message.set(data, 1)
  return message
}

export function encodeEnd(bodyBytes: number, trailers: readonly string[] = []): Buffer {
  const head = join(trailers)
  const message = Buffer.allocUnsafe(9 + head.length)
  message[0] = frameTypes.end
  message.writeDoubleBE(bodyBytes, 1)
  message.write(head, 9, 'latin1')
  return message
}

export function encodeCredit(bytes: number): Buffer {
  const message = Buffer.allocUnsafe(5)
  message[0] = frameTypes.credit
  message.writeUInt32BE(bytes, 1)
  return message
}

export function encodeCancel(code: string, detail: string): Buffer {
  return text(frameTypes.cancel, `${code}\0${printable(detail)}`)
}

export function encodeLease(lease: string): Buffer {
  return text(frameTypes.lease, lease)
}

export function encodeBulk(key: string): Buffer {
  return text(frameTypes.bulk, key)
}

export function encodeAccepted(): Buffer {
  return Buffer.from([frameTypes.accepted])
}

export function encodeInformation(status: number, headers: readonly string[]): Buffer {
  const head = join(headers)
  const message = Buffer.allocUnsafe(3 + head.length)
  message[0] = frameTypes.information
  message.writeUInt16BE(status, 1)
  message.write(head, 3, 'latin1')
  return message
}

export function encodeRefused(code: string, detail: string, isNeverStarted: boolean): Buffer {
  const head = `${code}\0${printable(detail)}`
  const message = Buffer.allocUnsafe(2 + head.length)
  message[0] = frameTypes.refused
  message[1] = isNeverStarted ? neverStarted : 0
  message.write(head, 2, 'latin1')
  return message
}

export interface BatchedFrame {
  readonly exchangeId: string
  readonly frame: Buffer
}

export function encodeBatch(frames: readonly BatchedFrame[]): Buffer {
  const bytes = frames.reduce(
    (sum, { exchangeId, frame }) => sum + exchangeId.length + frame.length,
    0,
  )
  const message = Buffer.allocUnsafe(1 + bytes + 5 * frames.length)
  message[0] = frameTypes.batch
  let offset = 1
  for (const { exchangeId, frame } of frames) {
    message[offset] = exchangeId.length
    offset += 1 + message.write(exchangeId, offset + 1, 'latin1')
    offset = message.writeUInt32BE(frame.length, offset)
    message.set(frame, offset)
    offset += frame.length
  }
  return message
}

/** The frames of a batch, as views. @throws WireError before the first one when the lengths do not fit. */
export function decodeBatch(message: Buffer): BatchedFrame[] {
  if (message[0] !== frameTypes.batch) throw new WireError(`not a batch: type ${message[0]}`)
  const frames: BatchedFrame[] = []
  let offset = 1
  while (offset < message.length) {
    const idEnd = offset + 1 + (message[offset] ?? 0)
    const start = idEnd + 4
    if (start > message.length) throw new WireError('batch cut short')
    const end = start + message.readUInt32BE(idEnd)
    if (end > message.length) throw new WireError('frame of a batch cut short')
    const exchangeId = message.toString('latin1', offset + 1, idEnd)
    frames.push({ exchangeId, frame: message.subarray(start, end) })
    offset = end
  }
  return frames
}

export function decodeUp(message: Buffer): UpFrame {
  switch (message[0]) {
    case frameTypes.response:
      return decodeResponse(message)
    case frameTypes.accepted:
      return { type: 'accepted' }
    case frameTypes.information:
      if (message.length < 3) throw new WireError('information cut short')
      return {
        type: 'information',
        status: message.readUInt16BE(1),
        headers: pairs(split(message.toString('latin1', 3))),
      }
    case frameTypes.refused: {
      const [code = '', detail = ''] = split(message.toString('latin1', 2))
      return { type: 'refused', code, detail, neverStarted: message[1] === neverStarted }
    }
    default:
      return decodeEither(message)
  }
}

export function decodeDown(message: Buffer): DownFrame {
  switch (message[0]) {
    case frameTypes.lease:
      return { type: 'lease', lease: message.toString('latin1', 1) }
    case frameTypes.bulk:
      return { type: 'bulk', key: message.toString('latin1', 1) }
    default:
      return decodeEither(message)
  }
}

function decodeEither(message: Buffer): Exclude<DownFrame, { type: 'lease' | 'bulk' }> {
  switch (message[0]) {
    case frameTypes.data:
      return { type: 'data', data: message.subarray(1) }
    case frameTypes.end:
      if (message.length < 9) throw new WireError('end cut short')
      return {
        type: 'end',
        bodyBytes: message.readDoubleBE(1),
        trailers: pairs(split(message.toString('latin1', 9))),
      }
    case frameTypes.credit:
      if (message.length !== 5) throw new WireError('credit of a wrong length')
      return { type: 'credit', bytes: message.readUInt32BE(1) }
    case frameTypes.cancel: {
      const [code = '', detail = ''] = split(message.toString('latin1', 1))
      return { type: 'cancel', code, detail }
    }
    default:
      throw new WireError(`unknown frame type ${message[0]}`)
  }
}

/** Reads the length-prefixed head at `offset`, and what follows it as the body (a view, not a copy). */
function headAndBody(message: Buffer, offset: number): { head: string; body: Buffer } {
  const start = offset + 4
  if (message.length < start) throw new WireError('message cut short')
  const end = start + message.readUInt32BE(offset)
  if (message.length < end) throw new WireError('head cut short')
  const body = message.length === end ? noBytes : message.subarray(end)
  return { head: message.toString('latin1', start, end), body }
}

function pairs(items: string[]): string[] {
  if (items.length % 2 !== 0) throw new WireError('a header name without a value')
  return items
}

function text(type: number, content: string): Buffer {
  const message = Buffer.allocUnsafe(1 + content.length)
  message[0] = type
  message.write(content, 1, 'latin1')
  return message
}

/** Details are for people: what is not printable ASCII becomes a question mark, and they end at 500 characters. */
function printable(detail: string): string {
  return detail.slice(0, 500).replace(/[^ -~]/g, '?')
}
