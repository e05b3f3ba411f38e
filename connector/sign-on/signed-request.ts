/**
 * One request with its sign-on: prepared before it goes to the origin, judged when the answer's head is there. A refusal
 * is answered once with a fresh sign-on, where the body can be sent again; a 401 says that nothing was done with the
 * first (RFC 9110 §15.5.2).
 */

import type { OriginControl, OriginRequest, OriginSink } from '../origin.ts'
import type { OriginError } from '../origin-error.ts'
import { HeldSink } from './held-sink.ts'
import type { Prepared, Proof } from './method.ts'
import { refusedTwice, type Sending, type Signed } from './sending.ts'

export class SignedRequest implements Signed {
  readonly #sending: Sending
  readonly #request: OriginRequest
  readonly #sink: OriginSink

  constructor(sending: Sending, request: OriginRequest, sink: OriginSink) {
    this.#sending = sending
    this.#request = request
    this.#sink = sink
  }

  send(prepared: Prepared, mayRepeat: boolean): () => void {
    const { proof } = prepared
    const { origins, application } = this.#sending
    const request = this.#sending.signed(this.#request, prepared)
    const sink = proof ? this.#judging(proof, mayRepeat) : this.#sink
    return origins.send(application, request, sink)
  }

  #judging(proof: Proof, mayRepeat: boolean): OriginSink {
    const held = new HeldSink(this.#sink)
    let isGivenUp = false
    const giveUp = (control: OriginControl) => {
      isGivenUp = true
      control.abort()
    }
    const judged = (status: number, reason: string, headers: string[], control: OriginControl) => {
      const verdict = proof.judge(status, headers)
      const accept = () => {
        this.#sending.succeeded()
        held.head(status, reason, proof.cleaned(headers), control)
      }
      if (verdict === 'accepted') return accept()
      if (verdict === 'refused') {
        giveUp(control)
        return this.#refused(proof, mayRepeat)
      }
      held.hold(control)
      verdict.then(
        () => this.#sending.isOver || held.release(accept),
        error => {
          giveUp(control)
          this.#sending.fail(error, true)
        },
      )
    }
    return {
      started: () => isGivenUp || this.#sink.started(),
      information: (status, headers) =>
        isGivenUp || this.#sink.information(status, proof.cleaned(headers)),
      head: (status, reason, headers, control) => {
        try {
          judged(status, reason, headers, control)
        } catch (error) {
          giveUp(control)
          this.#sending.fail(error, true)
        }
      },
      data: chunk => isGivenUp || held.data(chunk),
      end: trailers => isGivenUp || held.end(trailers),
      failed: (error: OriginError) => {
        if (isGivenUp) return
        proof.release()
        held.failed(error)
      },
    }
  }

  #refused(proof: Proof, mayRepeat: boolean): void {
    const { body } = this.#request
    const isRepeatable = body === null || Buffer.isBuffer(body)
    if (!mayRepeat || !isRepeatable) return this.#sending.fail(refusedTwice(mayRepeat), true)
    this.#sending.repeat(this, proof)
  }
}
