/**
 * What a request and an upgrade with sign-on share: one user, one application, the methods between them, and the end.
 * Whoever waits hears of one failure; when nobody waits any more, nothing is sent and no proof kept.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { canonicalFieldName } from '#infra/reserved-fields.ts'
import type { OriginRequest, OriginSink, Origins } from '../origin.ts'
import { OriginError } from '../origin-error.ts'
import type { Method, Prepared, Proof } from './method.ts'
import type { SignOnProblems } from './problems.ts'
import { asFailure, SignOnFailure } from './reasons.ts'

export interface SendingOptions {
  readonly origins: Origins
  readonly application: Application
  readonly claims: LeaseClaims | undefined
  readonly methods: readonly Method[]
  readonly problems: SignOnProblems
  /** Who waits for the answer. */
  readonly sink: Pick<OriginSink, 'failed'>
}

/** A request, or an upgrade. */
export interface Signed {
  /** Sends it with what it has to carry; the returned function aborts it. What this throws is a failure. */
  send(prepared: Prepared, mayRepeat: boolean): () => void
}

export class Sending {
  readonly origins: Origins
  readonly application: Application
  readonly #options: SendingOptions
  #abortOrigin: (() => void) | undefined
  #proof: Proof | undefined
  #isOver = false

  constructor(options: SendingOptions) {
    this.origins = options.origins
    this.application = options.application
    this.#options = options
  }

  /** It has failed, or nobody waits any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** At once where no method has to ask anybody; the returned function ends it. */
  start(signed: Signed): () => void {
    const prepared = this.#prepare()
    if (prepared instanceof Promise) {
      prepared.then(
        ready => this.#send(signed, ready, true),
        error => this.fail(error, false),
      )
    } else this.#send(signed, prepared, true)
    return () => this.#abort()
  }

  /** Once more, with a fresh proof in place of one that was refused. */
  repeat(signed: Signed, refused: Proof): void {
    refused.renew().then(
      prepared => this.#send(signed, prepared, false),
      error => this.fail(error, true),
    )
  }

  /** The request as the origin gets it: whatever the client said under these names is gone, behind its body too. */
  signed(request: OriginRequest, { headers, proof }: Prepared): OriginRequest {
    const { trailers } = request
    return {
      ...request,
      headers: [...this.withoutOwned(request.headers), ...headers],
      ...(trailers && { trailers: () => this.withoutOwned(trailers()) }),
      ...(proof && { connectionOwner: proof.connectionOwner }),
    }
  }

  withoutOwned(headers: readonly string[]): string[] {
    const isOwned = (name: string) => {
      const canonical = canonicalFieldName(name)
      return this.#options.methods.some(({ owns }) => owns.has(canonical))
    }
    return headers.filter((_, i) => !isOwned(headers[i & ~1] as string))
  }

  succeeded(): void {
    this.#options.problems.succeeded(this.application.id)
  }

  /** The sign-on has failed. */
  fail(error: unknown, isStarted: boolean): void {
    if (!this.#isOver) this.end(this.#asOriginError(asFailure(error), isStarted))
  }

  end(error: OriginError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#options.sink.failed(error)
  }

  #send(signed: Signed, prepared: Prepared, mayRepeat: boolean): void {
    const { proof } = prepared
    if (this.#isOver) return proof?.release()
    this.#proof = proof
    try {
      this.#abortOrigin = signed.send(prepared, mayRepeat)
    } catch (error) {
      this.fail(error, false)
    }
  }

  #abort(): void {
    this.#isOver = true
    this.#proof?.release()
    this.#abortOrigin?.()
  }

  /** All methods together. Never throws: what fails, rejects. */
  #prepare(): Prepared | Promise<Prepared> {
    const { claims, methods } = this.#options
    if (!claims?.user)
      return Promise.reject(new SignOnFailure('name_invalid', 'nobody is signed in'))
    const user = { claims, principal: claims.user }
    try {
      const all = methods.map(method => method.prepare(user))
      return all.some(prepared => prepared instanceof Promise)
        ? Promise.all(all).then(together)
        : together(all as Prepared[])
    } catch (error) {
      return Promise.reject(error)
    }
  }

  #asOriginError(failure: SignOnFailure, isStarted: boolean): OriginError {
    const { problems, claims } = this.#options
    problems.failed(this.application.id, claims?.sub ?? '', failure)
    const detail = `${failure.reason}: ${failure.message}. ${failure.advice}`
    return new OriginError(failure.fault, detail, isStarted, { cause: failure })
  }
}

/** Of several methods at most one has a proof. */
function together(all: readonly Prepared[]): Prepared {
  return {
    headers: all.flatMap(({ headers }) => headers),
    proof: all.find(({ proof }) => proof)?.proof,
  }
}

export function refusedTwice(mayRepeat: boolean): SignOnFailure {
  const detail = mayRepeat ? '401 to a request whose body is gone' : '401 to two fresh tickets'
  return new SignOnFailure('ticket_refused', detail)
}
