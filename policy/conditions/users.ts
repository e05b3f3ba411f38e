/**
 * Condition `users`: by user principal name, subject or object id, by group as the provider's claim spells it, by role,
 * or guests. Who is excluded in any way is out of the policy.
 */

import type { ConditionSet } from '#infra/contracts/conditional-access/conditions.ts'
import { idsOf, namesAll } from './applications.ts'
import { any, type Condition, type Test, type User, within } from './condition.ts'

type Scope = (user: User) => boolean | undefined
type Users = ConditionSet['users']

const guestsName = 'guestsorexternalusers'

export const users: Condition = {
  reasons: { met: 'user-in-scope', unmet: 'user-not-in-scope' },
  analysis: 'users',
  compile({ users: condition }) {
    const include = scopeOf({
      users: condition.includeUsers,
      groups: condition.includeGroups,
      roles: condition.includeRoles,
      guests: condition.includeGuestsOrExternalUsers,
    })
    const exclude = excludedScope(condition)
    if (!exclude) return namesAll(condition.includeUsers) ? undefined : ({ user }) => include(user)
    return ({ user }) => within(include(user), exclude(user))
  },
}

/** Whether somebody who is included is not excluded; undefined when nobody is. */
export function notExcluded({ users: condition }: ConditionSet): Test | undefined {
  const exclude = excludedScope(condition)
  return exclude && (({ user }) => within(true, exclude(user)))
}

function excludedScope(condition: Users): Scope | undefined {
  const scoped = {
    users: condition.excludeUsers,
    groups: condition.excludeGroups,
    roles: condition.excludeRoles,
    guests: condition.excludeGuestsOrExternalUsers,
  }
  const isNobody = Object.values(scoped).every(value => value === null || isEmptyList(value))
  return isNobody ? undefined : scopeOf(scoped)
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}

interface Scoped {
  users: Users['includeUsers']
  groups: Users['includeGroups']
  roles: Users['includeRoles']
  guests: Users['includeGuestsOrExternalUsers']
}

function scopeOf({ users: named, groups, roles, guests }: Scoped): Scope {
  if (namesAll(named)) return () => true
  const names = idsOf(named)
  const isForGuests = meansGuests({ users: named, guests })
  const scopes: readonly Scope[] = [
    ...(names.size > 0 ? [(user: User) => intersects(user.names, names)] : []),
    ...(groups.length > 0 ? [memberOf(groups, user => user.groups)] : []),
    ...(roles.length > 0 ? [memberOf(roles, user => user.roles)] : []),
    ...(isForGuests ? [(user: User) => user.isGuest] : []),
  ]
  const [only = () => false] = scopes
  return scopes.length <= 1 ? only : user => any(scopes, scope => scope(user))
}

/** `GuestsOrExternalUsers` among the users, or guests by kind. */
export function meansGuests({ users: named, guests }: Pick<Scoped, 'users' | 'guests'>): boolean {
  const isNamed = named.some(name => name.toLowerCase() === guestsName)
  return isNamed || Boolean(guests && guests.guestOrExternalUserTypes !== '')
}

function memberOf(
  names: readonly string[],
  of: (user: User) => ReadonlySet<string> | undefined,
): Scope {
  const isAll = namesAll(names)
  const wanted = new Set(names)
  return user => {
    const are = of(user)
    return are && (isAll ? are.size > 0 : intersects(are, wanted))
  }
}

function intersects(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  const [small, large] = one.size < other.size ? [one, other] : [other, one]
  for (const item of small) if (large.has(item)) return true
  return false
}
