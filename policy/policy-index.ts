/**
 * Which policies can concern this user at this application? A few lookups, not a scan: policies are kept by application
 * and, for each application that is asked about, by the users, groups and roles that they include; of those, the rest of
 * their conditions is tested.
 */

import { LRUCache } from 'lru-cache'
import { type CompiledPolicy, isLasting, isMet } from './compiled-policy.ts'
import { idsOf, namesAll } from './conditions/applications.ts'
import type { SignIn, Test, User } from './conditions/condition.ts'
import { meansGuests } from './conditions/users.ts'

/** Applications whose policies are kept by user; the others are put together anew when they are asked about. */
const maxApplications = 10_000

/** A policy that includes the application, among those of one application. */
interface Candidate {
  readonly compiled: CompiledPolicy
  /** What is left to be tested of whoever is found to be included. */
  readonly tests: readonly Test[]
  /** The search that has found it last: a policy may include a user in several ways. */
  foundBy: number
}

type Lists = Map<string, Candidate[]>

interface ByUser {
  /** Also who is included in a way that has to be looked at closer. */
  readonly everybody: readonly Candidate[]
  readonly names: Lists
  readonly groups: Lists
  readonly roles: Lists
  readonly guests: readonly Candidate[]
}

export class PolicyIndex {
  /** Policies for all applications. */
  readonly #everywhere: ByUser
  readonly #byApplication = new Map<string, CompiledPolicy[]>()
  readonly #byUser = new LRUCache<string, ByUser>({ max: maxApplications })
  /** What is left to be tested for each user that was asked about: whom a policy is for does not change with time. */
  readonly #ofUser = new WeakMap<User, Map<ByUser, readonly Candidate[]>>()
  #searches = 0

  constructor(policies: Iterable<CompiledPolicy>) {
    const everywhere: CompiledPolicy[] = []
    for (const compiled of policies) {
      const { includeApplications } = compiled.policy.conditions.applications
      if (namesAll(includeApplications)) everywhere.push(compiled)
      else for (const id of idsOf(includeApplications)) add(this.#byApplication, id, compiled)
    }
    this.#everywhere = byUser(everywhere)
  }

  /** Every policy that applies, now or as soon as its time comes, in no order. */
  concerning(signIn: SignIn): CompiledPolicy[] {
    const found: CompiledPolicy[] = []
    addMet(found, this.#candidatesOf(this.#everywhere, signIn), signIn)
    const users = this.#usersOf(signIn.application)
    if (users) addMet(found, this.#candidatesOf(users, signIn), signIn)
    return found
  }

  #candidatesOf(users: ByUser, signIn: SignIn): readonly Candidate[] {
    const { user } = signIn
    let ofUser = this.#ofUser.get(user)
    if (!ofUser) {
      ofUser = new Map()
      this.#ofUser.set(user, ofUser)
    }
    let candidates = ofUser.get(users)
    if (!candidates) {
      candidates = this.#search(users, signIn)
      ofUser.set(users, candidates)
    }
    return candidates
  }

  #search(users: ByUser, signIn: SignIn): readonly Candidate[] {
    const { user } = signIn
    const { everybody, names, groups, roles, guests } = users
    const search = new Search(++this.#searches, signIn)
    search.through(everybody)
    search.throughListsOf(names, user.names)
    search.throughListsOf(groups, user.groups)
    search.throughListsOf(roles, user.roles)
    if (user.isGuest !== false) search.through(guests)
    return search.found
  }

  /** Undefined for an application that no policy names. */
  #usersOf({ id, appId }: SignIn['application']): ByUser | undefined {
    const ofId = this.#byApplication.get(id)
    const ofAppId = this.#byApplication.get(appId)
    if (!ofId && !ofAppId) return undefined
    let users = this.#byUser.get(id)
    if (!users) {
      users = byUser(new Set([...(ofId ?? []), ...(ofAppId ?? [])]))
      this.#byUser.set(id, users)
    }
    return users
  }
}

function addMet(found: CompiledPolicy[], candidates: readonly Candidate[], signIn: SignIn): void {
  for (const { compiled, tests } of candidates) if (isMet(tests, signIn)) found.push(compiled)
}

class Search {
  readonly found: Candidate[] = []
  readonly #number: number
  readonly #signIn: SignIn

  constructor(number: number, signIn: SignIn) {
    this.#number = number
    this.#signIn = signIn
  }

  through(candidates: readonly Candidate[]): void {
    for (const candidate of candidates) {
      if (candidate.foundBy === this.#number) continue
      candidate.foundBy = this.#number
      const { userNotExcluded } = candidate.compiled
      if (userNotExcluded?.(this.#signIn) !== false) this.found.push(candidate)
    }
  }

  /** Of groups or roles that are not known, every list: whoever asks what-if sees that they would matter. */
  throughListsOf(lists: Lists, keys: User['groups']): void {
    if (lists.size === 0) return
    if (keys === undefined) {
      for (const candidates of lists.values()) this.through(candidates)
      return
    }
    for (const key of keys) {
      const candidates = lists.get(key)
      if (candidates) this.through(candidates)
    }
  }
}

function byUser(policies: Iterable<CompiledPolicy>): ByUser {
  const users = {
    everybody: [] as Candidate[],
    names: new Map() as Lists,
    groups: new Map() as Lists,
    roles: new Map() as Lists,
    guests: [] as Candidate[],
  }
  for (const compiled of policies) {
    const { includeUsers, includeGroups, includeRoles, includeGuestsOrExternalUsers } =
      compiled.policy.conditions.users
    const candidate = { compiled, tests: compiled.furtherTests, foundBy: 0 }
    if (namesAll(includeUsers)) users.everybody.push(candidate)
    else if (namesAll(includeGroups) || namesAll(includeRoles)) {
      users.everybody.push({
        ...candidate,
        tests: compiled.tests.filter(isLasting).map(({ test }) => test),
      })
    } else {
      for (const name of idsOf(includeUsers)) add(users.names, name, candidate)
      for (const name of includeGroups) add(users.groups, name, candidate)
      for (const name of includeRoles) add(users.roles, name, candidate)
      const isForGuests = meansGuests({ users: includeUsers, guests: includeGuestsOrExternalUsers })
      if (isForGuests) users.guests.push(candidate)
    }
  }
  return users
}

function add<Item>(lists: Map<string, Item[]>, key: string, item: Item): void {
  const list = lists.get(key)
  if (list) list.push(item)
  else lists.set(key, [item])
}
