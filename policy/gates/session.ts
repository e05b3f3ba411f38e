/** Gate: the user is signed in, unless the application is published with passthrough. */

import type { DecisionReason } from '#infra/contracts/reasons.ts'
import type { Gate, SessionState } from './gate.ts'

const unsatisfied: Record<Exclude<SessionState['is'], 'valid'>, DecisionReason> = {
  absent: 'session-required',
  unknown: 'session-unknown',
  expired: 'session-expired',
  revoked: 'session-revoked',
}

export const session: Gate = access => {
  if (isPassthrough(access.application)) return { isSatisfied: true, reason: 'session-not-needed' }
  const state = access.session.is
  return state === 'valid'
    ? { isSatisfied: true, reason: 'session-ok' }
    : { isSatisfied: false, reason: unsatisfied[state], outcome: 'challenge' }
}

/** Exactly this value opens an application; anything else needs a session. */
export function isPassthrough(
  application: { onPremisesPublishing: { externalAuthenticationType: string } } | undefined,
): boolean {
  return application?.onPremisesPublishing.externalAuthenticationType === 'passthru'
}
