/**
 * What the bus cannot refuse: a connector that answers twice, answers what another one was asked, or sends without end
 * what nobody waits for. All of it is discarded; here it is told to the registry, which cuts the connector off, and told
 * again until a registry has answered: of all things a flood may cost the bus. Only what no connector does by mistake
 * counts. One that was slower than its client, or lost its bus for a while, also sends what nobody waits for, but no
 * more than its windows hold.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  connectorIdOf,
  type MisbehaviourKind,
  type MisbehaviourReport,
} from '#infra/contracts/connector.ts'
import type { Logger } from '#infra/log.ts'
import { type SeldomLog, seldom } from '#infra/seldom-log.ts'
import { subjects } from '#infra/subjects.ts'

export interface MisbehaviourOptions {
  bus: Bus
  log: Logger
}

/** More messages, or bytes, that nobody waits for, within this time, than all windows of a process together hold. */
const floodWithinMs = 10_000
const floodMessages = 20_000
const floodBytes = 2 ** 30

const sameAgainMs = 5_000

/** Gateways are often back on the bus before any registry is. */
const tellAgainMs = 500
const tellWithinMs = 2_000
const mostAttempts = 20

interface Untold {
  readonly report: MisbehaviourReport
  attempts: number
}

interface Strays {
  since: number
  messages: number
  bytes: number
}

interface Unreadable {
  what: 'answer' | 'batch of answers' | 'line of answers'
  bytes: number
  error: unknown
}

export class Misbehaviour implements Disposable {
  readonly #options: MisbehaviourOptions
  readonly #warn: SeldomLog
  readonly #strays = new Map<string, Strays>()
  readonly #reportedAt = new Map<string, number>()
  readonly #untold = new Map<string, Untold>()
  readonly #offStatus: () => void

  constructor(options: MisbehaviourOptions) {
    this.#options = options
    this.#warn = seldom(options.log)
    this.#offStatus = options.bus.onStatus(() => {
      for (const what of this.#untold.keys()) this.#tell(what)
    })
  }

  /** There may be no end of it, and a line for each would keep the gateway from everything else. */
  unreadable(memberId: string, { what, bytes, error }: Unreadable): void {
    this.stray(memberId, bytes)
    const message = `unreadable ${what}`
    this.#warn(`${connectorIdOf(memberId)} ${what}`, { error, connector: memberId }, message)
  }

  /** Something for an exchange that nobody waits for, or that cannot be read. */
  stray(memberId: string, bytes: number): void {
    const connectorId = connectorIdOf(memberId)
    const now = performance.now()
    let strays = this.#strays.get(connectorId)
    if (!strays || now - strays.since > floodWithinMs) {
      strays = { since: now, messages: 0, bytes: 0 }
      this.#strays.set(connectorId, strays)
    }
    strays.messages++
    strays.bytes += bytes
    if (strays.messages > floodMessages || strays.bytes > floodBytes) {
      this.#strays.delete(connectorId)
      this.report(memberId, 'flood')
    }
  }

  report(memberId: string, kind: MisbehaviourKind): void {
    const { log } = this.#options
    const connectorId = connectorIdOf(memberId)
    const now = performance.now()
    const what = `${connectorId} ${kind}`
    if (now - (this.#reportedAt.get(what) ?? Number.NEGATIVE_INFINITY) < sameAgainMs) return
    this.#reportedAt.set(what, now)
    log.warn({ connector: memberId, kind }, 'a connector does what none does by mistake')
    this.#untold.set(what, { report: { connectorId, kind }, attempts: 0 })
    this.#tell(what)
  }

  /** While the bus is away its return is waited for. */
  #tell(what: string): void {
    const { bus, log } = this.#options
    const untold = this.#untold.get(what)
    if (!untold || !bus.isConnected) return
    const { report } = untold
    const answer = {
      reply: z.unknown(),
      timeoutMs: tellWithinMs,
      unavailable: 'bus_unavailable',
    } as const
    bus.call(subjects.misbehaviour(report.connectorId), report, answer).then(
      () => this.#untold.delete(what),
      error => {
        if (++untold.attempts < mostAttempts) {
          setTimeout(() => this.#tell(what), tellAgainMs).unref()
          return
        }
        this.#untold.delete(what)
        log.error({ error, ...report }, 'no registry has taken the report of a connector')
      },
    )
  }

  [Symbol.dispose](): void {
    this.#offStatus()
    this.#untold.clear()
  }
}
