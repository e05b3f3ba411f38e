/** The option of `publish` that says what becomes of users of an application while policy is away. */

import { type Command, InvalidArgumentError } from 'commander'
import type { OnPremisesPublishing } from '#infra/contracts/application.ts'

export interface LastLeaseOption {
  /** Minutes; `default` takes back what was set. */
  lastLease?: number | 'default'
}

export function withLastLease(command: Command): Command {
  return command.option(
    '--last-lease <minutes>',
    'while policy is away, let users go on for so long after their leases end (default: not at all)',
    minutes,
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

function minutes(value: string): number | 'default' {
  if (value === 'default') return value
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw new InvalidArgumentError('Write whole minutes, or default.')
}
