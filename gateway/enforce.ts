/**
 * What policy has decided, put into effect for one request: it has a grant and goes on, or it is turned away, with what
 * policy wants of a new sign-in if that may help. Grants are for a question (authorize.ts); which half of a decision is
 * about this request is said here.
 */

import { type Challenge, type Decision, decisionFor } from '#infra/contracts/policy.ts'
import type { Grant } from './leases.ts'
import { methodsOf, type Question } from './question.ts'
import { challenge, refuse } from './refusals.ts'
import type { Session } from './session.ts'
import { wantedKey } from './sign-in-state.ts'
import type { ServerContext, Visit } from './visit.ts'

/** A session that policy does not accept right after a sign-in would send the user round in circles. */
const freshSessionMs = 15_000

/** The grant that is in memory, unless it is one for other methods. */
export function rememberedGrant(
  context: ServerContext,
  visit: Visit,
  question: Question,
): Grant | undefined {
  const grant = context.authorizer.remembered(question)
  return grant && decisionOf(grant, visit).outcome === 'grant' ? grant : undefined
}

/** The half that is about this request, of a decision that has two. */
export function decisionOf({ decision }: Pick<Grant, 'decision'>, visit: Visit): Decision {
  return decision.unsafeMethods
    ? decisionFor(decision, methodsOf(visit.incoming, visit.upgrade))
    : decision
}

/** The grant, or undefined when the request has been refused. */
export async function askPolicy(
  context: ServerContext,
  visit: Visit,
  question: Question,
): Promise<Grant | undefined> {
  const { clientAddress } = visit.incoming
  context.limits.admit('decision', clientAddress)
  const answer = await context.authorizer
    .ask(question, methodsOf(visit.incoming, visit.upgrade))
    .catch(error => {
      context.limits.restore('decision', clientAddress)
      throw error
    })
  visit.access.decision = decisionOf(answer, visit)
  visit.access.decidedAt = performance.now()
  if (answer.lease !== undefined) return answer
  turnAway(context, visit, answer.decision)
  return undefined
}

export function turnAway(context: ServerContext, visit: Visit, decision: Decision): void {
  const { outcome, reasons, challenge: wanted } = decision
  if (outcome !== 'challenge' || isTriedAlready(visit.access.session, wanted)) {
    const fault = decision.isReadOnly ? 'read_only' : 'access_denied'
    refuse(context, visit, fault, undefined, reasons)
  } else {
    const fault = wanted ? 'insufficient_user_authentication' : 'unauthenticated'
    challenge(context, visit, fault, { isFresh: true, wanted })
  }
}

/** The user has just come back from a sign-in that was to do this, and it did not. */
function isTriedAlready(session: Session | undefined, wanted: Challenge | undefined): boolean {
  if (!session || Date.now() - session.signedInAtMs > freshSessionMs) return false
  return wanted === undefined || session.stepUp === wantedKey(wanted)
}
