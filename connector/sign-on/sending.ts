/** What requests and upgrades share: one user, one application, the methods between them, and what becomes of failures. */

import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import { canonicalFieldName } from '#infra/contracts/sign-on.ts'
import type { OriginRequest, Origins } from '../origin.ts'
import { OriginError } from '../origin-error.ts'
import type { Method, Prepared } from './method.ts'
import type { SignOnProblems } from './problems.ts'
import { SignOnFailure } from './reasons.ts'

export interface SendingOptions {
  readonly origins: Origins
  readonly application: Application
  readonly claims: LeaseClaims | undefined
  readonly methods: readonly Method[]
  readonly problems: SignOnProblems
}

export class Sending {
  readonly origins: Origins
  readonly application: Application
  readonly #options: SendingOptions

  constructor(options: SendingOptions) {
    this.origins = options.origins
    this.application = options.application
    this.#options = options
  }

  /** All methods together; at once where none has to ask anybody. Never throws: what fails, rejects. */
  prepare(): Prepared | Promise<Prepared> {
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

  /** The request as the origin gets it: whatever the client said under these names is gone. */
  signed(request: OriginRequest, { headers, proof }: Prepared): OriginRequest {
    return {
      ...request,
      headers: [...this.withoutOwned(request.headers), ...headers],
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

  failed(failure: SignOnFailure, isStarted: boolean): OriginError {
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
