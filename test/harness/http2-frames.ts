/** Frames of HTTP/2 by hand (RFC 9113 §4, §6), for what no library would send. Fields are never compressed. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export const types = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
} as const

const flags = { endStream: 1, endHeaders: 4 } as const

export function frame(type: number, flag: number, stream: number, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flag
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Values by identifier (RFC 9113 §6.5.1). */
export function settings(values: Readonly<Record<number, number>> = {}) {
  const parts = Object.entries(values).flatMap(([id, value]) => {
    const identifier = Buffer.alloc(2)
    identifier.writeUInt16BE(Number(id))
    return [identifier, number(value)]
  })
  return frame(types.settings, 0, 0, Buffer.concat(parts))
}

export const ping = () => frame(types.ping, 0, 0, Buffer.alloc(8))

export function windowUpdate(stream: number, bytes: number) {
  return frame(types.windowUpdate, 0, stream, number(bytes))
}

/** Literal fields without indexing (RFC 7541 §6.2.2). */
export function headers(stream: number, fields: readonly (readonly [string, string])[]) {
  const parts = fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)])
  return frame(types.headers, flags.endHeaders, stream, Buffer.concat(parts))
}

function text(value: string) {
  const { length } = value
  // Lengths to 127 + 127, which is enough here (RFC 7541 §5.1).
  const prefix = length < 127 ? [length] : [127, length - 127]
  if (length > 254) throw new RangeError('longer than what is encoded here')
  return Buffer.concat([Buffer.from(prefix), Buffer.from(value, 'latin1')])
}

export function data(stream: number, bytes: string) {
  return frame(types.data, 0, stream, Buffer.from(bytes))
}

export function reset(stream: number, code: number) {
  return frame(types.reset, 0, stream, number(code))
}

export function goAway(lastStream: number, code: number) {
  return frame(types.goAway, 0, 0, Buffer.concat([number(lastStream), number(code)]))
}

function number(value: number) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export interface FrameOrigin extends AsyncDisposable {
  /** HTTP/2 from the first byte. */
  readonly url: string
}

/** An origin that answers the head of each request with these bytes, once the settings have been sent. */
export async function startFrameOrigin(
  answer: (stream: number, socket: Socket) => Buffer,
): Promise<FrameOrigin> {
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => undefined).once('close', () => sockets.delete(socket))
    let received = Buffer.alloc(0)
    let skipped = preface.length
    socket.write(settings())
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk])
      for (; received.length >= skipped + 9; ) {
        const length = received.readUIntBE(skipped, 3)
        const isHead = received[skipped + 3] === types.headers
        const stream = received.readUInt32BE(skipped + 5)
        skipped += 9 + length
        if (isHead) socket.write(answer(stream, socket))
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
