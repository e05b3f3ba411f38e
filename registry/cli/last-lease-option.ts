/** The option of `publish` that says what becomes of users of an application while policy is away. */

import type { Command } from 'commander'
import type { OnPremisesPublishing } from '#infra/contracts/application.ts'
import { type Whole, whole } from './timeout-options.ts'

export interface LastLeaseOption {
  /** Minutes. */
  lastLease?: Whole
}

export function withLastLease(command: Command): Command {
  return command.option(
    '--last-lease <minutes>',
    'while policy is away, let users go on for so long after their leases end, 1 to 8 (default: not at all)',
    whole('minutes'),
  )
}

/** Properties of onPremisesPublishing; undefined ones are no part of a JSON body. */
export function lastLeaseOf({ lastLease }: LastLeaseOption) {
  if (lastLease === undefined) return {}
  if (lastLease === 'default') return { whenPolicyIsUnavailable: null, lastLeaseMinutes: null }
  return { whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: lastLease }
}

/** For `show`: nothing where it is as everywhere. */
export function lastLeaseLines({
  whenPolicyIsUnavailable,
  lastLeaseMinutes,
}: Pick<OnPremisesPublishing, 'whenPolicyIsUnavailable' | 'lastLeaseMinutes'>): string[] {
  if (whenPolicyIsUnavailable === 'failClosed') return []
  return [`  without policy   last leases go on for ${lastLeaseMinutes} min`]
}
