/**
 * A line for answers: a connection past the bus (direct.ts) on which one connector sends everything that it has to say of
 * its exchanges with one gateway, as BATCHes (wire.ts), in order. Requests, and all that goes down to the connector, stay
 * on the bus, which chooses whom it asks. A message of an answer then wakes one process in place of two.
 *
 *   connector                                    gateway
 *      │◄── LINE, by the bus ───────────────────────│  the key of a line; connectors without a way there ignore it
 *      │──► { u32 octets  BATCH } … ───────────────►│
 *      │──► u32 0 ─────────────────────────────────►│  how much has come? Asked after so many octets, or some time
 *      │◄── f64 messages, of all that were sent ────│
 *
 * Whatever ends a line, nothing of it is lost. The connector keeps what has not been acknowledged, asks by the bus how
 * much has come, and goes on from there over the bus, with everything that would have gone by this line:
 *
 *      │──► LINE_BROKEN, by the bus ───────────────►│  which takes nothing more from that line
 *      │◄── LINE_RECEIVED, by the bus ──────────────│
 *
 * On the bus they go by the subjects `up` and `down` with `-` in place of an exchange:
 *
 *   LINE           u8 8   head: gateway id, key
 *   LINE_RECEIVED  u8 9   f64 messages, or -1 when nothing is known of the line  key
 *   LINE_BROKEN    u8 22  key
 */

import { type BatchedFrame, encodeBatch, encodeBatchOfOne } from './frame-batch.ts'
import { frameTypes, WireError } from './wire.ts'

const lengthBytes = 4
const countBytes = 8
const separator = '\0'

/** Smaller ones cost less as one piece. */
const copiedBytes = 16 * 1024

/** More than any head and body that share a message. */
const maxMessageBytes = 2 ** 20

export type LineOffer = { readonly gatewayId: string; readonly key: string }
export type LineReceived = { readonly key: string; readonly messages: number | undefined }

/** A message as it goes by a line: a large frame follows what is before it, and is not copied. */
export type LineMessage = readonly [Buffer] | readonly [Buffer, Buffer]

export function encodeLineMessage(frames: readonly BatchedFrame[]): LineMessage {
  const [first] = frames
  if (first && frames.length === 1 && first.frame.length > copiedBytes) {
    const head = encodeBatchOfOne(first, lengthBytes)
    head.writeUInt32BE(head.length + first.frame.length - lengthBytes)
    return [head, first.frame]
  }
  const whole = encodeBatch(frames, lengthBytes)
  whole.writeUInt32BE(whole.length - lengthBytes)
  return [whole]
}

/** The same message as the bus takes it. */
export function batchIn([head, frame]: LineMessage): Buffer {
  const beginning = head.subarray(lengthBytes)
  return frame ? Buffer.concat([beginning, frame]) : beginning
}

/** How the connector asks how much has come. */
export const lineQuestion: Buffer = Buffer.alloc(lengthBytes)

export function encodeLineOffer({ gatewayId, key }: LineOffer): Buffer {
  return Buffer.concat([Buffer.of(frameTypes.line), Buffer.from(gatewayId + separator + key)])
}

export function encodeLineReceived({ key, messages = -1 }: LineReceived): Buffer {
  return Buffer.concat([Buffer.of(frameTypes.lineReceived), count(messages), Buffer.from(key)])
}

export function encodeLineBroken(key: string): Buffer {
  return Buffer.concat([Buffer.of(frameTypes.lineBroken), Buffer.from(key)])
}

/** What a gateway says to a connector of no exchange. @throws WireError */
export function decodeAboutLine(message: Buffer): LineOffer | LineReceived {
  if (message[0] === frameTypes.line) {
    const [gatewayId, key] = message.toString('latin1', 1).split(separator)
    if (!gatewayId || !key) throw new WireError('offer of a line without a key')
    return { gatewayId, key }
  }
  if (message[0] !== frameTypes.lineReceived || message.length < 1 + countBytes)
    throw new WireError(`nothing that is said of a line: type ${message[0]}`)
  const messages = message.readDoubleBE(1)
  return {
    key: message.toString('latin1', 1 + countBytes),
    messages: messages < 0 ? undefined : messages,
  }
}

export function isLineBroken(message: Buffer): boolean {
  return message[0] === frameTypes.lineBroken
}

/** The key of the line that a connector says is broken. */
export function keyOfBroken(message: Buffer): string {
  return message.toString('latin1', 1)
}

export interface LineListener {
  take(batch: Buffer): void
  /** Somebody asks how much has come; this is the answer. */
  asked(answer: Buffer): void
}

/** Reads what comes by a line, in pieces of any length. */
export class LineReader {
  readonly #listener: LineListener
  /** The beginning of a message, in the room for all of it, or for its length. */
  #begun: Buffer | undefined
  #begunBytes = 0
  #received = 0

  constructor(listener: LineListener) {
    this.#listener = listener
  }

  /** Messages so far. */
  get received(): number {
    return this.#received
  }

  /** @throws WireError for what is no line: nothing may be read any more then. */
  read(chunk: Buffer): void {
    let start = this.#begun ? this.#goOn(this.#begun, chunk) : 0
    while (start < chunk.length) {
      const bytes = messageBytes(chunk, start)
      const end = start + bytes
      if (end > chunk.length) this.#begin(chunk.subarray(start), bytes)
      else this.#take(chunk.subarray(start, end))
      start = end
    }
  }

  #begin(beginning: Buffer, bytes: number): Buffer {
    const begun = Buffer.allocUnsafeSlow(bytes)
    this.#begunBytes = beginning.copy(begun)
    this.#begun = begun
    return begun
  }

  /** How much of the chunk belongs to the message that has begun. */
  #goOn(begun: Buffer, chunk: Buffer): number {
    const copied = chunk.copy(begun, this.#begunBytes)
    this.#begunBytes += copied
    if (this.#begunBytes < begun.length) return copied
    this.#begun = undefined
    const bytes = messageBytes(begun, 0)
    if (bytes === begun.length) {
      this.#take(begun)
      return copied
    }
    // That was its length alone.
    return copied + this.#goOn(this.#begin(begun, bytes), chunk.subarray(copied))
  }

  #take(message: Buffer): void {
    if (message.length === lengthBytes) return this.#listener.asked(count(this.#received))
    this.#received++
    this.#listener.take(message.subarray(lengthBytes))
  }
}

/** Of the message that begins here, its length included; that of the length, while it has not come. */
function messageBytes(octets: Buffer, start: number): number {
  if (octets.length - start < lengthBytes) return lengthBytes
  const length = octets.readUInt32BE(start)
  if (length > maxMessageBytes) throw new WireError(`message of ${length} octets on a line`)
  return lengthBytes + length
}

/** Reads the answers to how much has come. */
export class CountReader {
  #rest: Buffer = Buffer.alloc(0)

  read(chunk: Buffer): number[] {
    const octets = Buffer.concat([this.#rest, chunk])
    const counts = Math.floor(octets.length / countBytes)
    this.#rest = octets.subarray(counts * countBytes)
    return Array.from({ length: counts }, (_, i) => octets.readDoubleBE(i * countBytes))
  }
}

function count(messages: number): Buffer {
  const octets = Buffer.allocUnsafe(countBytes)
  octets.writeDoubleBE(messages)
  return octets
}
