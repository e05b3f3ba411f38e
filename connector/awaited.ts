/**
 * How many requests of each application wait for its answer. One that does not answer any more would otherwise take all
 * the room that a connector has within seconds, and every other application of the group with it.
 */

export class Awaited {
  readonly #most: number
  /** By application. */
  readonly #counts = new Map<string, number>()

  constructor(most: number) {
    this.#most = most
  }

  hasRoom(applicationId: string): boolean {
    return (this.#counts.get(applicationId) ?? 0) < this.#most
  }

  began(applicationId: string): void {
    this.#counts.set(applicationId, (this.#counts.get(applicationId) ?? 0) + 1)
  }

  /** It was answered, or nobody waits any more. */
  ended(applicationId: string): void {
    const left = (this.#counts.get(applicationId) ?? 1) - 1
    if (left > 0) this.#counts.set(applicationId, left)
    else this.#counts.delete(applicationId)
  }
}
