/**
 * The ways by which a connector answers: over the bus, or by a line to a gateway that has offered one. An exchange keeps to
 * the way by which it began, or its frames would overtake each other.
 */

import type { Duplex } from 'node:stream'
import { decodeAboutLine } from '#infra/answer-line.ts'
import type { Bus } from '#infra/bus.ts'
import { type BatchedFrame, messageOf } from '#infra/frame-batch.ts'
import type { Logger } from '#infra/log.ts'
import { Standstill } from '#infra/standstill.ts'
import { subjects } from '#infra/subjects.ts'
import { AnswerLine } from './answer-line.ts'
import type { DirectDialer } from './direct-dialer.ts'

/** The gateway's id, for the bus, or a line to it. */
export type AnswerWay = string | AnswerLine

export interface AnswerWaysOptions {
  bus: Bus
  log: Logger
  memberId: string
  /** Undefined where everything goes over the bus. */
  direct?: DirectDialer | undefined
  /** Whether an exchange is open that goes by this line. */
  isNeeded: (line: AnswerLine) => boolean
  /** What has been said by this line is lost. */
  onLost: (line: AnswerLine) => void
}

const lookMs = 100

/** A line that nobody needs is given up after this time. */
const idleMs = 60_000

/** A connector that stops waits so long for what its gateways have not got yet. */
const settleMs = 2_000

export class AnswerWays implements Disposable {
  readonly #options: AnswerWaysOptions
  /** By gateway, those that are open. */
  readonly #open = new Map<string, AnswerLine>()
  /** Also those that are broken, until all of it is on the bus. */
  readonly #lines = new Set<AnswerLine>()
  readonly #standstill = new Standstill(lookMs)
  readonly #timer: NodeJS.Timeout
  #isEnding = false

  constructor(options: AnswerWaysOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#look(), lookMs)
  }

  /** For what begins now. */
  to(gatewayId: string): AnswerWay {
    const line = this.#open.get(gatewayId)
    return line?.isOpen ? line : gatewayId
  }

  send(way: AnswerWay, frames: readonly BatchedFrame[]): void {
    if (typeof way !== 'string') return way.send(frames)
    const { bus, memberId } = this.#options
    const exchangeId = frames.length === 1 ? frames[0]?.exchangeId : undefined
    bus.publish(subjects.up(memberId, way, exchangeId ?? ''), messageOf(frames))
  }

  /** What a gateway says of no exchange. */
  hear(message: Buffer): void {
    const said = decodeAboutLine(message)
    if ('gatewayId' in said) return this.#dial(said.gatewayId, said.key)
    for (const line of this.#lines) if (line.key === said.key) line.received(said.messages)
  }

  #dial(gatewayId: string, key: string): void {
    const { direct } = this.#options
    if (!direct || this.#isEnding || this.#open.get(gatewayId)?.isOpen) return
    direct.dial(key, {
      isWanted: () => !this.#isEnding,
      ready: (socket, first) => {
        if (first.length > 0) socket.unshift(first)
        this.#begin(gatewayId, key, socket)
      },
    })
  }

  #begin(gatewayId: string, key: string, socket: Duplex): void {
    const { bus, log, memberId, onLost } = this.#options
    const publish = (message: Buffer) => bus.publish(subjects.up(memberId, gatewayId, ''), message)
    const line = new AnswerLine({ gatewayId, key, socket, log, publish, onLost })
    this.#open.set(gatewayId, line)
    this.#lines.add(line)
    log.debug({ gateway: gatewayId }, 'answers go past the bus')
  }

  #look(): void {
    const now = performance.now()
    const stoodStillMs = this.#standstill.lastedMs(now)
    for (const line of this.#lines) {
      line.look(now, stoodStillMs)
      if (line.isOpen && now - line.usedAt > idleMs && !this.#options.isNeeded(line)) line.end()
      if (!line.isOpen && this.#open.get(line.gatewayId) === line) this.#open.delete(line.gatewayId)
      if (line.isOver) this.#lines.delete(line)
    }
  }

  /** Resolves when gateways have everything that was sent to them, or the bus has. */
  async settled(): Promise<void> {
    const all = Promise.all([...this.#lines].map(line => line.settled()))
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, settleMs)
    await Promise.race([all, late])
    clearTimeout(timer)
  }

  [Symbol.dispose](): void {
    this.#isEnding = true
    clearInterval(this.#timer)
    for (const line of this.#lines) line.end()
  }
}
