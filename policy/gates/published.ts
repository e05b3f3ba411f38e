/** Gate: the application is published. */

import type { Gate } from './gate.ts'

export const published: Gate = ({ application }) =>
  application ? undefined : { isSatisfied: false, reason: 'application-unknown', outcome: 'block' }
