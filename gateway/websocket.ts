/**
 * Just enough of the WebSocket framing (RFC 6455 §5.2) to close a connection of which the gateway only carries the
 * bytes: where one frame of the origin ends and the next begins, and what a Close frame looks like. Between two
 * frames, and nowhere else, a frame of our own may be put.
 */

/** Status codes of Close frames that the gateway sends by itself. */
export const closeCodes = {
  /** RFC 6455 registry: the server restarts, come again. */
  serviceRestart: 1012,
  /** Ours: access has ended, sign in again. */
  accessEnded: 4401,
  /** Ours: the application may only be read, which a WebSocket cannot be held to. */
  readOnly: 4403,
  /** Ours: the owner of the site does not allow it, or no longer. */
  siteVeto: 4403,
} as const

/** Follows the frames from the origin to the client. */
export class FrameBoundary {
  #payloadLeft = 0
  /** Octets of a frame header that is not complete yet. */
  #header: number[] = []

  get isBetweenFrames(): boolean {
    return this.#payloadLeft === 0 && this.#header.length === 0
  }

  observe(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#payloadLeft > 0) {
        const skipped = Math.min(this.#payloadLeft, chunk.length - at)
        this.#payloadLeft -= skipped
        at += skipped
        continue
      }
      this.#header.push(chunk[at++] as number)
      const payload = payloadLength(this.#header)
      if (payload === undefined) continue
      this.#payloadLeft = payload
      this.#header = []
    }
  }
}

/** Length of the payload behind a header, or undefined while the header is incomplete. */
function payloadLength(header: readonly number[]): number | undefined {
  const [, second] = header
  if (second === undefined) return undefined
  const short = second & 0x7f
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0
  const masked = second & 0x80 ? 4 : 0
  if (header.length < 2 + extended + masked) return undefined
  if (extended === 0) return short
  return header.slice(2, 2 + extended).reduce((length, octet) => length * 256 + octet, 0)
}

/** A Close frame as servers send it: final, unmasked, a status code and a short reason. */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason.slice(0, 120), 'utf8')
  const frame = Buffer.alloc(4 + text.length)
  frame[0] = 0x88
  frame[1] = 2 + text.length
  frame.writeUInt16BE(code, 2)
  frame.set(text, 4)
  return frame
}
