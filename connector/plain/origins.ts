/**
 * Plain exchanges with origins of HTTP/1.1, which are most: without a client library, whose parser in WebAssembly and
 * whose streams cost a small exchange more than everything that we do. Nothing is decided here that another program could
 * see in another way: what is not plain goes on as it would without all this.
 */

import type { Destination } from '../destination.ts'
import type { Dialer } from '../dial.ts'
import { PlainConnections } from './connections.ts'

const sweepMs = 1_000

export class PlainOrigins implements Disposable {
  readonly #dialer: Dialer
  readonly #maxConnections: number
  readonly #all = new Map<string, PlainConnections>()
  readonly #sweeps: NodeJS.Timeout

  constructor(dialer: Dialer, maxConnections: number) {
    this.#dialer = dialer
    this.#maxConnections = maxConnections
    this.#sweeps = setInterval(() => this.#sweep(), sweepMs).unref()
  }

  to(destination: Destination): PlainConnections {
    const { key } = destination
    let connections = this.#all.get(key)
    if (!connections) {
      const options = { dialer: this.#dialer, maxConnections: this.#maxConnections }
      connections = new PlainConnections(destination, options)
      this.#all.set(key, connections)
    }
    return connections
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeps)
    for (const connections of this.#all.values()) connections.destroy()
  }

  #sweep(): void {
    const now = performance.now()
    for (const connections of this.#all.values()) connections.sweep(now)
  }
}
