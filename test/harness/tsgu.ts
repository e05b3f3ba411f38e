/**
 * What is said within a connection of the Remote Desktop Gateway, whatever transport carries it (MS-TSGU §2.2.10):
 * handshake, tunnel, authorisation, channel, and then the bytes of the one desktop that this gateway knows.
 */

import { connect, type Socket } from 'node:net'

export interface TunnelOptions {
  /** The desktop, at 127.0.0.1, whatever name the client gives it. */
  desktopPort: number
  /** To the client. */
  out: Socket
  /** How the transport wraps a packet. */
  wrap(packet: Buffer): Buffer
}

const types = {
  handshake: 1,
  handshakeResponse: 2,
  tunnelCreate: 4,
  tunnelResponse: 5,
  tunnelAuth: 6,
  tunnelAuthResponse: 7,
  channelCreate: 8,
  channelResponse: 9,
  data: 10,
} as const

const headBytes = 8

/** A data packet gives its length in 16 bits. */
const maxDataBytes = 32_000

const u8 = (...values: number[]) => Buffer.from(values)
const u16 = (...values: number[]) => Buffer.from(Uint16Array.from(values).buffer)
const u32 = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer)

const success = u32(0)

/** One client's way to the desktop. */
export class Tunnel {
  readonly #options: TunnelOptions
  #received: Buffer = Buffer.alloc(0)
  #desktop: Socket | undefined

  constructor(options: TunnelOptions) {
    this.#options = options
  }

  /** What the client sent, in pieces as they come. */
  take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    while (this.#received.length >= headBytes) {
      const length = this.#received.readUInt32LE(4)
      if (length < headBytes) return void this.#options.out.destroy()
      if (this.#received.length < length) return
      const packet = this.#received.subarray(0, length)
      this.#received = this.#received.subarray(length)
      this.#packet(packet.readUInt16LE(0), packet.subarray(headBytes))
    }
  }

  end(): void {
    this.#desktop?.destroy()
  }

  #packet(type: number, body: Buffer): void {
    switch (type) {
      case types.handshake:
        // Version 1.0, and the way to sign in that the client asked for.
        return this.#send(types.handshakeResponse, success, u8(1, 0), u16(0), body.subarray(4, 6))
      case types.tunnelCreate:
        // With a tunnel id (1) and capabilities (2): all but quarantine, which wants a statement of health.
        return this.#send(types.tunnelResponse, u16(0), success, u16(3, 0), u32(1, 0x3e))
      case types.tunnelAuth:
        // With redirection (1), all of it, and the idle time-out (2), none.
        return this.#send(types.tunnelAuthResponse, success, u16(3, 0), u32(0x80000000, 0))
      case types.channelCreate:
        return this.#connect()
      case types.data:
        return void this.#desktop?.write(body.subarray(2, 2 + body.readUInt16LE(0)))
    }
  }

  #connect(): void {
    const { desktopPort, out } = this.#options
    const desktop = connect(desktopPort, '127.0.0.1', () => {
      // With a channel id (1).
      this.#send(types.channelResponse, success, u16(1, 0), u32(1))
    })
    desktop
      .on('error', () => out.end())
      .on('end', () => out.end())
      .on('data', bytes => this.#data(bytes))
    this.#desktop = desktop
  }

  #data(bytes: Buffer): void {
    const { out } = this.#options
    for (let start = 0; start < bytes.length; start += maxDataBytes) {
      const part = bytes.subarray(start, start + maxDataBytes)
      this.#send(types.data, u16(part.length), part)
    }
    if (!out.writableNeedDrain) return
    this.#desktop?.pause()
    out.once('drain', () => this.#desktop?.resume())
  }

  #send(type: number, ...parts: readonly Buffer[]): void {
    const body = Buffer.concat(parts)
    const head = Buffer.concat([u16(type, 0), u32(headBytes + body.length)])
    this.#options.out.write(this.#options.wrap(Buffer.concat([head, body])))
  }
}
