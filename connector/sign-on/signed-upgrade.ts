/**
 * One upgrade with its sign-on, WebSockets above all: as signed-request.ts, with the socket held back while its head is
 * judged. A connection of many requests (raw-connection.ts) carries what is the same for all of them.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { OriginRequest, UpgradeSink } from '../origin.ts'
import { OriginError } from '../origin-error.ts'
import type { Prepared, Proof } from './method.ts'
import { asFailure, SignOnFailure } from './reasons.ts'
import { refusedTwice, type Sending } from './sending.ts'

export class SignedUpgrade {
  readonly #sending: Sending
  readonly #request: OriginRequest
  readonly #sink: UpgradeSink
  #abortOrigin: (() => void) | undefined
  #proof: Proof | undefined
  #isOver = false

  constructor(sending: Sending, request: OriginRequest, sink: UpgradeSink) {
    this.#sending = sending
    this.#request = request
    this.#sink = sink
  }

  start(): () => void {
    Promise.resolve(this.#sending.prepare()).then(
      prepared => this.#send(prepared, true),
      error => this.#fail(error, false),
    )
    return () => {
      this.#isOver = true
      this.#proof?.release()
      this.#abortOrigin?.()
    }
  }

  #send(prepared: Prepared, mayRepeat: boolean): void {
    const { proof } = prepared
    if (this.#isOver) return proof?.release()
    this.#proof = proof
    const { origins, application } = this.#sending
    try {
      const request = this.#whole(prepared)
      const sink = proof ? this.#judging(proof, mayRepeat) : this.#sink
      this.#abortOrigin = origins.upgrade(application, request, sink)
    } catch (error) {
      this.#fail(error, false)
    }
  }

  #whole(prepared: Prepared): OriginRequest {
    const signed = this.#sending.signed(this.#request, prepared)
    const { raw } = this.#request
    if (!raw) return signed
    if (prepared.proof) {
      throw new SignOnFailure('not_supported', 'a ticket for each request of a raw connection')
    }
    const translate: typeof raw.translate = head => {
      const translated = raw.translate(head)
      const headers = [...this.#sending.withoutOwned(translated.headers), ...prepared.headers]
      return { ...translated, headers }
    }
    return { ...signed, raw: { ...raw, translate } }
  }

  #judging(proof: Proof, mayRepeat: boolean): UpgradeSink {
    return {
      started: () => this.#sink.started(),
      upgraded: (reason, headers, socket, first) => {
        const pass = () => {
          this.#sending.succeeded()
          this.#sink.upgraded(reason, proof.cleaned(headers), socket, first)
        }
        this.#judge(proof, { status: 101, headers, stream: socket, mayRepeat, pass })
      },
      declined: response => {
        const { statusCode: status = 502, rawHeaders: headers } = response
        const pass = () => {
          response.rawHeaders = proof.cleaned(headers)
          this.#sink.declined(response)
        }
        this.#judge(proof, { status, headers, stream: response, mayRepeat, pass })
      },
      failed: error => {
        proof.release()
        this.#sink.failed(error)
      },
    }
  }

  #judge(proof: Proof, { status, headers, stream, mayRepeat, pass }: Judged): void {
    // Nobody else listens while it waits.
    const ignored = () => undefined
    stream.on('error', ignored)
    const fail = (error: unknown) => {
      stream.destroy()
      this.#fail(error, true)
    }
    try {
      const verdict = proof.judge(status, headers)
      if (verdict === 'accepted') return pass()
      if (verdict === 'refused') {
        stream.destroy()
        return this.#refused(proof, mayRepeat)
      }
      verdict.then(() => {
        if (this.#isOver) return
        if (stream.destroyed) return this.#lost()
        pass()
        stream.off('error', ignored)
      }, fail)
    } catch (error) {
      fail(error)
    }
  }

  #refused(proof: Proof, mayRepeat: boolean): void {
    if (!mayRepeat) return this.#fail(refusedTwice(mayRepeat), true)
    proof.renew().then(
      prepared => this.#send(prepared, false),
      error => this.#fail(error, true),
    )
  }

  #lost(): void {
    this.#isOver = true
    this.#sink.failed(new OriginError('origin_unreachable', 'the connection was closed', true))
  }

  #fail(error: unknown, isStarted: boolean): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#sink.failed(this.#sending.failed(asFailure(error), isStarted))
  }
}

interface Judged {
  readonly status: number
  readonly headers: readonly string[]
  readonly stream: Duplex | IncomingMessage
  readonly mayRepeat: boolean
  /** Hands the answer on. */
  readonly pass: () => void
}
