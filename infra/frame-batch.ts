/** Frames of several exchanges as one message of the exchange protocol (wire.ts), in their order. */

import { frameTypes, WireError } from './wire.ts'

const noBytes = Buffer.alloc(0)

export interface BatchedFrame {
  readonly exchangeId: string
  readonly frame: Buffer
}

/** The batch, behind as many octets that are still to be written. */
export function encodeBatch(frames: readonly BatchedFrame[], headroom = 0): Buffer {
  const bytes = frames.reduce(
    (sum, { exchangeId, frame }) => sum + exchangeId.length + frame.length,
    0,
  )
  const message = Buffer.allocUnsafe(headroom + 1 + bytes + 5 * frames.length)
  message[headroom] = frameTypes.batch
  let offset = headroom + 1
  for (const { exchangeId, frame } of frames) {
    message[offset] = exchangeId.length
    offset += 1 + message.write(exchangeId, offset + 1, 'latin1')
    offset = message.writeUInt32BE(frame.length, offset)
    message.set(frame, offset)
    offset += frame.length
  }
  return message
}

/** The beginning of a batch of one frame, which follows it. */
export function encodeBatchOfOne({ exchangeId, frame }: BatchedFrame, headroom = 0): Buffer {
  const head = encodeBatch([{ exchangeId, frame: noBytes }], headroom)
  head.writeUInt32BE(frame.length, head.length - 4)
  return head
}

/** Frames as one message: a frame alone goes as it is. */
export function messageOf(frames: readonly BatchedFrame[]): Buffer {
  return frames.length === 1 && frames[0] ? frames[0].frame : encodeBatch(frames)
}

export function isBatch(message: Buffer): boolean {
  return message[0] === frameTypes.batch
}

/** The frames of a batch, as views. @throws WireError before the first one when the lengths do not fit. */
export function decodeBatch(message: Buffer): BatchedFrame[] {
  if (!isBatch(message)) throw new WireError(`not a batch: type ${message[0]}`)
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
