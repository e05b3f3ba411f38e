/**
 * One upgrade with its sign-on, WebSockets above all: as signed-request.ts, with the socket held back while its head is
 * judged. A connection of many requests (raw-connection.ts) carries what is the same for all of them.
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { OriginRequest, UpgradeSink } from '../origin.ts'
import { OriginError } from '../origin-error.ts'
import type { Prepared, Proof } from './method.ts'
import { SignOnFailure } from './reasons.ts'
import { refusedTwice, type Sending, type Signed } from './sending.ts'

export class SignedUpgrade implements Signed {
  readonly #sending: Sending
  readonly #request: OriginRequest
  readonly #sink: UpgradeSink

  constructor(sending: Sending, request: OriginRequest, sink: UpgradeSink) {
    this.#sending = sending
    this.#request = request
    this.#sink = sink
  }

  send(prepared: Prepared, mayRepeat: boolean): () => void {
    const { proof } = prepared
    const { origins, application } = this.#sending
    const sink = proof ? this.#judging(proof, mayRepeat) : this.#sink
    return origins.upgrade(application, this.#whole(prepared), sink)
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
      information: (status, headers) => this.#sink.information(status, proof.cleaned(headers)),
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
      this.#sending.fail(error, true)
    }
    try {
      const verdict = proof.judge(status, headers)
      if (verdict === 'accepted') return pass()
      if (verdict === 'refused') {
        stream.destroy()
        return this.#refused(proof, mayRepeat)
      }
      verdict.then(() => {
        if (this.#sending.isOver) return
        if (stream.destroyed) return this.#lost()
        pass()
        stream.off('error', ignored)
      }, fail)
    } catch (error) {
      fail(error)
    }
  }

  #refused(proof: Proof, mayRepeat: boolean): void {
    if (!mayRepeat) return this.#sending.fail(refusedTwice(mayRepeat), true)
    this.#sending.repeat(this, proof)
  }

  #lost(): void {
    const detail = 'the connection was closed'
    this.#sending.end(new OriginError('origin_unreachable', detail, true))
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
