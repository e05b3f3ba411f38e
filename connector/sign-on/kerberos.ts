/**
 * Sign-on by Kerberos constrained delegation: every request carries a fresh token of the user for the application
 * (RFC 4559), without being asked. The service principal name is the application's setting, never a request's or a
 * sign-in's; who the user is comes from the lease alone. A reply that proves nothing is never passed over.
 */

import type { KerberosSettings } from '#infra/contracts/sign-on.ts'
import { negotiateChallenge, withoutNegotiate } from './challenges.ts'
import type { Kerberos, Ticket } from './kerberos/kerberos.ts'
import { kerberosName, nameKey } from './kerberos/names.ts'
import type { KerberosName } from './kerberos/protocol.ts'
import type { Method, Prepared, Proof } from './method.ts'
import { SignOnFailure } from './reasons.ts'

const owns = new Set(['authorization'])

export function kerberosMethod(settings: KerberosSettings, kerberos: Kerberos): Method {
  const { kerberosSignOnMappingAttributeType: mapping } = settings
  const prepare = async (user: KerberosName): Promise<Prepared> => {
    const { kerberosServicePrincipalName: spn, kerberosTokenFormat: format } = settings
    const ticket = await kerberos.ticket({ user, spn, format })
    const proof = new TicketProof(ticket, {
      connectionOwner: nameKey(user),
      isProofRequired: settings.isMutualAuthenticationRequired,
      renew: async () => {
        await kerberos.forget(user)
        return prepare(user)
      },
    })
    return { headers: ['Authorization', `Negotiate ${ticket.token}`], proof }
  }
  return {
    owns,
    prepare: ({ principal }) => prepare(kerberosName(mapping, principal, kerberos.realm)),
  }
}

interface ProofOptions {
  readonly connectionOwner: string
  readonly isProofRequired: boolean
  readonly renew: () => Promise<Prepared>
}

class TicketProof implements Proof {
  readonly connectionOwner: string
  readonly renew: () => Promise<Prepared>
  readonly #ticket: Ticket
  readonly #isProofRequired: boolean
  #isOver = false

  constructor(ticket: Ticket, { connectionOwner, isProofRequired, renew }: ProofOptions) {
    this.#ticket = ticket
    this.#isProofRequired = isProofRequired
    this.connectionOwner = connectionOwner
    this.renew = renew
  }

  judge(status: number, headers: readonly string[]): 'refused' | 'accepted' | Promise<'accepted'> {
    const challenge = negotiateChallenge(headers)
    if (status === 401 && challenge) {
      this.release()
      return 'refused'
    }
    if (challenge?.reply) return this.#verify(challenge.reply)
    this.release()
    if (!this.#isProofRequired) return 'accepted'
    throw new SignOnFailure('origin_not_genuine', `an answer with status ${status} without a proof`)
  }

  async #verify(reply: Buffer): Promise<'accepted'> {
    this.#isOver = true
    const isGenuine = await this.#ticket.verify(reply)
    if (isGenuine ?? !this.#isProofRequired) return 'accepted'
    const which = isGenuine === undefined ? 'that cannot be checked any more' : 'that is false'
    throw new SignOnFailure('origin_not_genuine', `a proof ${which}`)
  }

  cleaned(headers: readonly string[]): string[] {
    return withoutNegotiate(headers)
  }

  release(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#ticket.release()
  }
}
