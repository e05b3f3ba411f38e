/**
 * What a socket reads, taken past its stream. For each read Node makes room of 64 KiB, cuts it to what came, and leads
 * that through a stream, which costs a small exchange more than a microsecond at each of its sockets. `onread` of
 * net.connect() reads into the same room again and again, but only sockets that connect can be told so: here, those that
 * were accepted are as well. It is done by what Node keeps of that option, which no documentation promises, so where
 * that is not found the stream is read.
 */

import { Socket } from 'node:net'

/** What Node reads at most at a time. */
const roomBytes = 64 * 1024

/** For all sockets: what was read is copied out before anything else is read, and takes no more than its length then. */
const sharedRoom = Buffer.allocUnsafeSlow(roomBytes)

/** Where Node keeps the parts of `onread` in a socket. */
interface Places {
  /** The room. */
  readonly kBuffer: symbol
  /** Is told how much has come; no more is read when it returns false. */
  readonly kBufferCb: symbol
}

/** A connection as Node's own code has it. */
interface Handle {
  useUserBuffer(room: Uint8Array): void
}

const places = findPlaces()

export interface Reads {
  /** From now on everything goes the way of the stream. */
  giveBack(): void
}

/**
 * Hands what a socket reads to `take`, in order and as octets of its own, until it is given back. Everything else about
 * the socket stays as it is: it is paused and resumed, it ends and fails as ever. Once for each socket.
 */
export function takeReads(socket: Socket, take: (octets: Buffer) => void): Reads {
  const handle = handleOf(socket)
  if (!places || !handle || socket.readableLength > 0) return byStream(socket, take)
  const reads = new PastStream(socket, take)
  Object.assign(socket, {
    [places.kBuffer]: sharedRoom,
    [places.kBufferCb]: (bytes: number) => reads.came(bytes),
  })
  handle.useUserBuffer(sharedRoom)
  return reads
}

/** By the stream, as anybody would. */
function byStream(socket: Socket, take: (octets: Buffer) => void): Reads {
  socket.on('data', take)
  return { giveBack: () => void socket.off('data', take) }
}

class PastStream implements Reads {
  readonly #socket: Socket
  #take: ((octets: Buffer) => void) | undefined

  constructor(socket: Socket, take: (octets: Buffer) => void) {
    this.#socket = socket
    this.#take = take
  }

  giveBack(): void {
    this.#take = undefined
  }

  /** Whether more may be read. */
  came(bytes: number): boolean {
    const octets = Buffer.allocUnsafe(bytes)
    sharedRoom.copy(octets, 0, 0, bytes)
    if (!this.#take) return this.#socket.push(octets)
    this.#take(octets)
    return true
  }
}

function handleOf(socket: Socket): Handle | undefined {
  const { _handle: handle } = socket as { _handle?: Partial<Handle> | null }
  return typeof handle?.useUserBuffer === 'function' ? (handle as Handle) : undefined
}

function findPlaces(): Places | undefined {
  const probe = new Socket({ onread: { buffer: sharedRoom, callback: () => true } })
  const symbols = Object.getOwnPropertySymbols(probe)
  const [kBuffer, kBufferCb] = ['kBuffer', 'kBufferCb'].map(name =>
    symbols.find(({ description }) => description === name),
  )
  probe.destroy()
  return kBuffer && kBufferCb && { kBuffer, kBufferCb }
}
