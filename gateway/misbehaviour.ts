/**
 * What the bus cannot refuse: a connector that answers twice, answers what another one was asked, or sends without end
 * what nobody waits for. All of it is discarded; here it is told to the registry, which cuts the connector off. Only what
 * no connector does by mistake counts. One that was slower than its client, or lost its bus for a while, also sends what
 * nobody waits for, but no more than its windows hold.
 */

import type { Bus } from '#infra/bus.ts'
import { connectorIdOf, type MisbehaviourKind } from '#infra/contracts/connector.ts'
import type { Logger } from '#infra/log.ts'
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

interface Strays {
  since: number
  messages: number
  bytes: number
}

export class Misbehaviour {
  readonly #options: MisbehaviourOptions
  readonly #strays = new Map<string, Strays>()
  readonly #reportedAt = new Map<string, number>()

  constructor(options: MisbehaviourOptions) {
    this.#options = options
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
    const { bus, log } = this.#options
    const connectorId = connectorIdOf(memberId)
    const now = performance.now()
    const what = `${connectorId} ${kind}`
    if (now - (this.#reportedAt.get(what) ?? Number.NEGATIVE_INFINITY) < sameAgainMs) return
    this.#reportedAt.set(what, now)
    log.warn({ connector: memberId, kind }, 'a connector does what none does by mistake')
    bus.publishJson(subjects.misbehaviour(connectorId), { connectorId, kind })
  }
}
