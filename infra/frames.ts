/**
 * Writes and reads the frames of the exchange protocol (wire.ts). Whatever is not one is refused with a WireError,
 * before anything is done with it. What is read are views of the message, not copies, as far as it is octets.
 */

import {
  type DownFrame,
  frameTypes,
  type RequestFrame,
  type ResponseFrame,
  type UpFrame,
  WireError,
  wireVersion,
} from './wire.ts'

const bodyFollows = 1
const upgrade = 2
const raw = 4
const leaseIsReference = 8
const neverStarted = 1

/** In a BATCH its length has an octet. */
const maxExchangeIdChars = 255

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
  const fixed = `${gatewayId}\0${exchangeId}\0${timeText(startBeforeMs)}\0${lease}\0${method}\0${target}`
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

let lastTimeMs = 0
let lastTimeText = '0'

/** Many begin within a millisecond, and V8 takes long to write a number to this base. */
function timeText(timeMs: number): string {
  if (timeMs !== lastTimeMs) {
    lastTimeMs = timeMs
    lastTimeText = timeMs.toString(36)
  }
  return lastTimeText
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
  if (exchangeId.length > maxExchangeIdChars) throw new WireError('request with a long id')
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
  const isUpgrade = (flags & upgrade) !== 0
  // What is interim goes as INFORMATION: after such an answer a client would take the next one for its own.
  const isFinal = isUpgrade ? status === 101 : status >= 200
  if (!isFinal || status > 999) throw new WireError(`response with status ${status}`)
  const { head, body } = headAndBody(message, 4)
  const items = head.split(separator)
  return {
    type: 'response',
    status,
    reason: items[0] ?? '',
    headers: pairs(items.slice(1)),
    body,
    bodyFollows: (flags & bodyFollows) !== 0,
    isUpgrade,
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
      const flags = message[1] ?? 0
      return { type: 'refused', code, detail, neverStarted: (flags & neverStarted) !== 0 }
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
