/**
 * Leads the bodies of one exchange over to the connection that was made for them, in the same way at both ends: those that
 * are under way when it comes, and those that begin later. When it ends before they do, bytes are lost with it, and the
 * exchange has to end; what the bus says in the meantime says it better.
 */

import type { BodyReceiver } from './body-receiver.ts'
import type { BodySender } from './body-sender.ts'
import type { BulkConnection } from './bulk.ts'

export interface BulkSwitchOptions {
  /** What comes by the connection cannot be. */
  broken: (detail: string) => void
  /** The connection is gone, and bytes of a body with it. */
  lost: (detail: string) => void
}

/** How long after the end of a connection the bus may still say why. */
const explainedWithinMs = 1_000

export class BulkSwitch {
  readonly #options: BulkSwitchOptions
  #sender: BodySender | undefined
  #receiver: BodyReceiver | undefined
  #bulk: BulkConnection | undefined
  #isComing = false
  #isOver = false

  constructor(options: BulkSwitchOptions) {
    this.#options = options
  }

  sends(sender: BodySender): void {
    this.#sender = sender
    if (this.#bulk) sender.switchTo(this.#bulk)
  }

  receives(receiver: BodyReceiver): void {
    this.#receiver = receiver
    receiver.expectBulk(this.#isComing)
    if (this.#bulk) receiver.switchTo(this.#bulk, this.#options.broken)
  }

  /** A connection is being made, and the end of a body may be here before it is. */
  coming(): void {
    this.#isComing = true
    this.#receiver?.expectBulk(true)
  }

  /** It was not made after all. */
  failed(): void {
    this.#lookForLoss()
  }

  take(bulk: BulkConnection): void {
    if (this.#isOver) return bulk.destroy()
    this.#bulk = bulk
    bulk.onClosed(() => {
      // Whatever stands between the two ends may cut what is idle, while an origin thinks about its answer.
      this.#bulk = undefined
      setTimeout(() => this.#lookForLoss(), explainedWithinMs).unref()
    })
    this.#sender?.switchTo(bulk)
    this.#receiver?.switchTo(bulk, this.#options.broken)
  }

  #lookForLoss(): void {
    this.#isComing = false
    this.#receiver?.expectBulk(false)
    if (this.#isOver || !(this.#sender?.isAtRisk || this.#receiver?.isAtRisk)) return
    this.#options.lost('the connection for its body was lost')
  }

  /** All has been said: what was sent last may still arrive. */
  finish(): void {
    this.#isOver = true
    this.#bulk?.finish()
  }

  /** Nobody wants the rest. */
  destroy(): void {
    this.#isOver = true
    this.#bulk?.destroy()
  }
}
