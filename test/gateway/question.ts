/** What a gateway asks policy, for the tests of what it makes of the answer. */

import type { Question } from '../../gateway/question.ts'
import { facts } from '../policy/applications.ts'

/** The user is spelled as a provider may: names of users differ by more than their case. */
export const question: Question = {
  sessionId: 's1',
  userPrincipalName: 'Ada@Example.com',
  applicationId: 'wiki',
  client: { facts, fingerprint: 'f1' },
  requestId: 'r1',
}

/** Buckets of which the gateway has seen nothing yet. */
export const nothingShown = () => ({ applications: { revision: 0 }, revocations: { revision: 0 } })
