/** Contexts that wait for the application's reply, by number. Of too many the oldest are given up. */

/** Far above the exchanges that a process takes at once. */
const maxContexts = 20_000

export class OpenContexts<Context> {
  readonly #open = new Map<number, Context>()
  readonly #giveUp: (context: Context) => void
  #last = 0

  constructor(giveUp: (context: Context) => void) {
    this.#giveUp = giveUp
  }

  keep(context: Context): number {
    const id = ++this.#last
    this.#open.set(id, context)
    const [oldest] = this.#open.keys()
    if (this.#open.size > maxContexts && oldest !== undefined) this.release(oldest)
    return id
  }

  /** It is the taker's from here on. */
  take(id: number): Context | undefined {
    const context = this.#open.get(id)
    this.#open.delete(id)
    return context
  }

  release(id: number): void {
    const context = this.take(id)
    if (context !== undefined) this.#giveUp(context)
  }
}
