/**
 * Everything that a decision depends on besides the request and its session, as one immutable value: taken once at the
 * start of a decision, replaced as a whole when something changes.
 */

import { ConditionalAccess } from './conditional-access.ts'
import type { MultifactorContexts } from './controls/grant.ts'
import { Places } from './places.ts'
import { Signals } from './signals.ts'

export interface PolicyState {
  readonly conditionalAccess: ConditionalAccess
  readonly places: Places
  readonly signals: Signals
  readonly multifactor: MultifactorContexts
}

/** No policies at all: the gates alone decide. */
export const withoutPolicies: PolicyState = {
  conditionalAccess: new ConditionalAccess([]),
  places: new Places([], () => undefined),
  signals: new Signals(new Map()),
  multifactor: { acrValues: [] },
}
