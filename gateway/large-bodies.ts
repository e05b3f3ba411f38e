/**
 * Decides whether the bodies of an exchange are worth a connection of their own, offers it to the connector, and leads
 * them over to it. An exchange whose bodies are small has none of this.
 */

import type { BodyReceiver } from '#infra/body-receiver.ts'
import type { BodySender } from '#infra/body-sender.ts'
import { BulkConnection, largeBodyBytes } from '#infra/bulk.ts'
import { BulkSwitch, type BulkSwitchOptions } from '#infra/bulk-switch.ts'
import { encodeBulk } from '#infra/frames.ts'
import type { DirectOffers } from './direct-offers.ts'

/** What trickles is not worth it. */
const fastBytesPerSecond = 64 * 1024

export interface LargeBodiesOptions extends BulkSwitchOptions {
  offers: DirectOffers
  /** Sends a frame to the connector. */
  send: (frame: Buffer) => void
}

export class LargeBodies {
  readonly #options: LargeBodiesOptions
  readonly #switch: BulkSwitch
  readonly #startedAt = performance.now()
  #key: string | undefined

  constructor(options: LargeBodiesOptions) {
    this.#options = options
    this.#switch = new BulkSwitch(options)
  }

  /** A body begins, of this length if that is known. */
  sends(sender: BodySender, length: number | undefined): void {
    this.#switch.sends(sender)
    this.#expect(length)
  }

  receives(receiver: BodyReceiver, length: number | undefined): void {
    this.#switch.receives(receiver)
    this.#expect(length)
  }

  /** So much of a body has moved. */
  moved(bytes: number): void {
    if (this.#key !== undefined || bytes < largeBodyBytes) return
    const seconds = (performance.now() - this.#startedAt) / 1_000
    if (bytes >= fastBytesPerSecond * seconds) this.#offer()
  }

  #expect(length = 0): void {
    if (length >= largeBodyBytes && this.#key === undefined) this.#offer()
  }

  #offer(): void {
    const { offers, send } = this.#options
    this.#key = offers.offer({
      coming: () => this.#switch.coming(),
      take: (socket, first) => this.#switch.take(new BulkConnection(socket, first)),
      failed: () => this.#switch.failed(),
    })
    send(encodeBulk(this.#key))
  }

  /** The exchange is over. */
  close(): void {
    if (this.#key !== undefined) this.#options.offers.withdraw(this.#key)
    this.#switch.destroy()
  }
}
