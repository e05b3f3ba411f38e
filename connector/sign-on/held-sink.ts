/** What comes of an answer while its head is being judged, kept in order and passed on when that is done. */

import type { OriginControl, OriginSink } from '../origin.ts'
import type { OriginError } from '../origin-error.ts'

export class HeldSink {
  readonly #sink: OriginSink
  #waiting: (() => void)[] | undefined
  #control: OriginControl | undefined

  constructor(sink: OriginSink) {
    this.#sink = sink
  }

  /** Little comes after this: the origin is asked to wait. */
  hold(control: OriginControl): void {
    this.#waiting = []
    this.#control = control
    control.pause()
  }

  release(passHead: () => void): void {
    const waiting = this.#waiting ?? []
    // Before anything is passed on: whoever gets it may want to pause in turn.
    this.#control?.resume()
    this.#waiting = undefined
    passHead()
    for (const pass of waiting) pass()
  }

  head(status: number, reason: string, headers: string[], control: OriginControl): void {
    this.#sink.head(status, reason, headers, control)
  }

  data(chunk: Buffer): void {
    this.#pass(() => this.#sink.data(chunk))
  }

  end(trailers: string[]): void {
    this.#pass(() => this.#sink.end(trailers))
  }

  failed(error: OriginError): void {
    this.#pass(() => this.#sink.failed(error))
  }

  #pass(pass: () => void): void {
    if (this.#waiting) this.#waiting.push(pass)
    else pass()
  }
}
