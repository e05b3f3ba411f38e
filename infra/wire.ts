/**
 * The exchange protocol: one HTTP request with its response (or one upgraded connection) between a gateway and a
 * connector, as binary messages on the bus. Here is what they mean; frames.ts writes and reads them, frame-batch.ts
 * those of several exchanges in one message.
 *
 *   gateway                          bus                         connector
 *      │ REQUEST   exchange.<group>.<app>  (queue group)             │
 *      │────────────────────────────────────────────────────────────►│  origin
 *      │ RESPONSE, whole            up.<connector>.<gateway>.<id>    │◄──────►
 *      │◄────────────────────────────────────────────────────────────│
 *
 *   A small exchange is exactly these two messages, or its share of two BATCHes. Otherwise, on the subjects `up` and
 *   `down.<connector>.<id>`:
 *
 *      │◄── ACCEPTED            still working: 250 ms without another answer; later on, now and then, to hear that somebody waits
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
 *   What goes up may go by a line past the bus in place of it, all of an exchange or nothing (answer-line.ts).
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
 *   LINE, LINE_RECEIVED, LINE_BROKEN  u8 8, u8 9, u8 22: of a line on which answers go past the bus (answer-line.ts)
 *   RESPONSE     u8 17  u8 flags  u16 status  u32 head octets  head  body
 *                head: reason phrase, name, value, …
 *   ACCEPTED     u8 18
 *   INFORMATION  u8 19  u16 status  head: name, value, …
 *   REFUSED      u8 20  u8 flags  head: code, detail
 *   BATCH        u8 21  { u8 octets  exchange id  u32 octets  frame } …
 *                frames of several exchanges, in their order: from one connector to one gateway, on a subject with `-` in
 *                place of an exchange; or REQUESTs of one gateway for one application, each taken or refused by itself
 *
 * Flags of a REQUEST: 1 body follows, 2 upgrade, 4 raw, 8 lease is a reference (see RequestFrame); of a RESPONSE: 1 body
 * follows, 2 upgrade; of a REFUSED: 1 never started. Unknown ones are ignored. An exchange id has 255 octets at most.
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
  line: 8,
  lineReceived: 9,
  response: 17,
  accepted: 18,
  information: 19,
  refused: 20,
  batch: 21,
  lineBroken: 22,
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
