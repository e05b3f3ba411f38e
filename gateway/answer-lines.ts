/**
 * The gateway's side of lines for answers (infra/answer-line.ts). Whoever answers over the bus is offered one now and
 * then. A line ends with its connector, with the bus, and when the gateway stops: what an administrator has disabled may
 * not go on to answer past the bus. How much has come of it is kept for a while, for the connector to ask.
 */

import type { Duplex } from 'node:stream'
import { encodeLineOffer, encodeLineReceived, LineReader } from '#infra/answer-line.ts'
import type { Bus } from '#infra/bus.ts'
import { subjects } from '#infra/subjects.ts'
import type { DirectOffers } from './direct-offers.ts'

export interface AnswerLinesOptions {
  bus: Bus
  offers: DirectOffers
  /** A batch of answers of this member has come by a line. */
  receive: (memberId: string, batch: Buffer) => void
  /** What has come is no line. */
  unreadable: (memberId: string, bytes: number, error: unknown) => void
}

interface Line {
  readonly memberId: string
  readonly reader: LineReader
  /** Undefined when it has ended. */
  socket: Duplex | undefined
}

interface Member {
  /** Messages that have come over the bus since the last offer, or the last time that it was too early for one. */
  answers: number
  offerAfter: number
  pauseMs: number
  /** The key of an offer that nobody has taken yet. */
  offered: string | undefined
}

/** Whoever answers now and then has no use for a line. */
const answersBeforeOffer = 16

/** A member may have no way here, or one that does not last: after each offer the next one waits for twice as long. */
const shortestPauseMs = 1_000
const longestPauseMs = 5 * 60_000

/** A way that has lasted for so long is worth the next offer at once. */
const lastingMs = 60_000

/** One for each connection of a member to the bus, of which it has two while it moves. */
const mostLines = 4

/** Answers to how much has come; whoever reads none of them may not go on asking. */
const mostUnreadBytes = 64 * 1024

/** Connectors ask at once how much has come; one that has not by then has no use for the answer. */
const rememberedMs = 30_000

export class AnswerLines implements Disposable {
  readonly #options: AnswerLinesOptions
  /** By key: those that are open, or ended not long ago. */
  readonly #lines = new Map<string, Line>()
  readonly #members = new Map<string, Member>()
  #isEnding = false

  constructor(options: AnswerLinesOptions) {
    this.#options = options
  }

  /** Lines that are open. */
  get size(): number {
    return this.#open().length
  }

  /** This member has answered over the bus. */
  heard(memberId: string): void {
    let member = this.#members.get(memberId)
    if (!member) {
      member = { answers: 0, offerAfter: 0, pauseMs: shortestPauseMs, offered: undefined }
      this.#members.set(memberId, member)
    }
    if (++member.answers < answersBeforeOffer) return
    member.answers = 0
    const now = performance.now()
    if (this.#isEnding || now < member.offerAfter) return
    member.offerAfter = now + member.pauseMs
    member.pauseMs = Math.min(member.pauseMs * 2, longestPauseMs)
    this.#offer(memberId, member)
  }

  /** The connector takes a line for broken, and asks how much of it has come. */
  broken(memberId: string, key: string): void {
    const line = this.#lines.get(key)
    const isOurs = line?.memberId === memberId
    if (isOurs) this.#end(line)
    const messages = isOurs ? line.reader.received : undefined
    this.#tell(memberId, encodeLineReceived({ key, messages }))
  }

  /** The member is gone, or may not answer any more. */
  gone(memberId: string): void {
    this.#withdraw(this.#members.get(memberId))
    this.#members.delete(memberId)
    for (const line of this.#open()) if (line.memberId === memberId) this.#end(line)
  }

  /** Ends all of them; what is still to come comes over the bus. */
  end(): void {
    for (const member of this.#members.values()) this.#withdraw(member)
    this.#members.clear()
    for (const line of this.#open()) this.#end(line)
  }

  /** This gateway stops: it offers none any more. */
  drain(): void {
    this.#isEnding = true
    this.end()
  }

  #open(): Line[] {
    return [...this.#lines.values()].filter(({ socket }) => socket !== undefined)
  }

  #offer(memberId: string, member: Member): void {
    this.#withdraw(member)
    if (this.#open().filter(line => line.memberId === memberId).length >= mostLines) return
    const { offers, bus } = this.#options
    const key = offers.offer({
      coming: () => undefined,
      take: (socket, first) => this.#take({ memberId, key, socket, first }),
      failed: () => undefined,
    })
    member.offered = key
    this.#tell(memberId, encodeLineOffer({ gatewayId: bus.instance, key }))
  }

  #withdraw(member: Member | undefined): void {
    if (member?.offered !== undefined) this.#options.offers.withdraw(member.offered)
  }

  #tell(memberId: string, message: Buffer): void {
    this.#options.bus.publish(subjects.down(memberId, ''), message)
  }

  #take({ memberId, key, socket, first }: Taken): void {
    // Between the key and the connection the member may have gone.
    const member = this.#members.get(memberId)
    if (member?.offered !== key) return void socket.destroy()
    const began = performance.now()
    const reader = new LineReader({
      take: batch => this.#options.receive(memberId, batch),
      asked: answer => void socket.write(answer),
    })
    const line: Line = { memberId, reader, socket }
    this.#lines.set(key, line)
    socket.on('error', () => undefined)
    socket.once('end', () => socket.destroy())
    socket.once('close', () => {
      line.socket = undefined
      if (performance.now() - began > lastingMs) {
        member.pauseMs = shortestPauseMs
        member.offerAfter = 0
      }
      setTimeout(() => this.#lines.delete(key), rememberedMs).unref()
    })
    socket.on('data', (chunk: Buffer) => this.#read(line, chunk))
    if (first.length > 0) socket.unshift(first)
    socket.resume()
  }

  #read(line: Line, chunk: Buffer): void {
    const { memberId, reader, socket } = line
    if (!socket) return
    try {
      reader.read(chunk)
    } catch (error) {
      this.#options.unreadable(memberId, chunk.length, error)
      this.#end(line)
    }
    if (socket.writableLength > mostUnreadBytes) this.#end(line)
  }

  #end(line: Line): void {
    line.socket?.destroy()
    line.socket = undefined
  }

  [Symbol.dispose](): void {
    this.drain()
  }
}

interface Taken {
  memberId: string
  key: string
  socket: Duplex
  first: Buffer
}
