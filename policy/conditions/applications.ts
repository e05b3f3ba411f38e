/** Condition: the application is published. */

import type { Condition } from './condition.ts'

export const applications: Condition = ({ application }) =>
  application ? undefined : { isSatisfied: false, reason: 'application-unknown', outcome: 'block' }
