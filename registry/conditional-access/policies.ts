/**
 * Conditional access policies and the named locations that they use, in one bucket: a change of either is decided
 * knowing both, so no policy can name a location that is not there. What is read from it has been parsed as a whole.
 */

import { randomUUID } from 'node:crypto'
import {
  everywhere,
  type NamedLocation,
  NamedLocationInput,
} from '#infra/contracts/conditional-access/named-location.ts'
import {
  type ConditionalAccessPolicy,
  locationKey,
  type PolicyEntry,
  PolicyInput,
  policyKey,
} from '#infra/contracts/conditional-access/policy.ts'
import type { Changed, Precondition } from '../applications.ts'
import { invalid, parseOrRefuse, Refusal } from '../refusal.ts'
import type { State, Store, Versioned } from '../store.ts'
import { merged, topLevelChanges } from './merge.ts'

export type PolicyStore = Store<PolicyEntry>

export interface PolicyOptions {
  store: PolicyStore
  /** Largest message of the bus. */
  maxMessageBytes: number
}

/** One kind of resource in the bucket. */
export interface Resources<Value> {
  list(): Versioned<Value>[]
  /** Refuses when there is none. */
  get(id: string): Versioned<Value>
  create(body: unknown): Promise<Changed<Value>>
  update(id: string, patch: unknown, precondition: Precondition): Promise<Changed<Value>>
  remove(id: string, precondition: Precondition): Promise<Versioned<Value>>
}

interface Kind<Value> {
  readonly name: string
  readonly key: (id: string) => string
  readonly parse: (body: unknown) => Omit<Value, 'id' | 'createdDateTime' | 'modifiedDateTime'> & {
    id?: string | undefined
  }
  readonly wrap: (value: Value) => PolicyEntry
  readonly unwrap: (entry: PolicyEntry) => Value | undefined
  /** Refuses what does not go together with the rest of the bucket. */
  readonly check: (value: Value, state: State<PolicyEntry>) => void
  readonly checkRemoval: (value: Value, state: State<PolicyEntry>) => void
}

interface Identified {
  readonly id: string
  readonly createdDateTime: string
  readonly modifiedDateTime: string | null
}

export function openPolicies(options: PolicyOptions): Resources<ConditionalAccessPolicy> {
  return open<ConditionalAccessPolicy>(options, {
    name: 'policy',
    key: policyKey,
    parse: body => parseOrRefuse(PolicyInput, body),
    wrap: policy => ({ kind: 'policy', policy }),
    unwrap: entry => (entry.kind === 'policy' ? entry.policy : undefined),
    check: checkLocations,
    checkRemoval: () => undefined,
  })
}

export function openNamedLocations(options: PolicyOptions): Resources<NamedLocation> {
  return open<NamedLocation>(options, {
    name: 'named location',
    key: locationKey,
    parse: body => {
      const {
        createdDateTime: _,
        modifiedDateTime: __,
        deletedDateTime: ___,
        ...rest
      } = parseOrRefuse(NamedLocationInput, body)
      return rest
    },
    wrap: location => ({ kind: 'location', location }),
    unwrap: entry => (entry.kind === 'location' ? entry.location : undefined),
    check: () => undefined,
    checkRemoval: checkUnused,
  })
}

function open<Value extends Identified>(
  options: PolicyOptions,
  kind: Kind<Value>,
): Resources<Value> {
  const { store } = options
  return {
    list: () =>
      store.list().flatMap(({ value, revision }) => {
        const found = kind.unwrap(value)
        return found ? [{ value: found, revision }] : []
      }),
    get: id => find(store, kind, id),
    create: body => create(options, kind, body),
    update: (id, patch, precondition) => update(options, kind, { id, patch, precondition }),
    remove: (id, precondition) => remove(options, kind, id, precondition),
  }
}

async function create<Value extends Identified>(
  { store, maxMessageBytes }: PolicyOptions,
  kind: Kind<Value>,
  body: unknown,
): Promise<Changed<Value>> {
  const input = kind.parse(body)
  const id = input.id ?? randomUUID()
  const createdDateTime = new Date().toISOString()
  const value = { ...input, id, createdDateTime, modifiedDateTime: null } as unknown as Value
  checkSize(value, maxMessageBytes)
  const revision = await store.change(state => {
    if (state.get(kind.key(id))) {
      const message = `there is a ${kind.name} "${id}" already`
      throw new Refusal('already_exists', message, [{ property: 'id', message }])
    }
    kind.check(value, state)
    return { id: kind.key(id), value: kind.wrap(value) }
  })
  if (revision === undefined) throw new TypeError(`a ${kind.name} was not written`)
  return { value, revision, changed: Object.keys(Object(body)) }
}

interface Update {
  id: string
  patch: unknown
  precondition: Precondition
}

/** Objects are merged as Graph does it: what a patch leaves out stays, lists are replaced, null clears. */
async function update<Value extends Identified>(
  { store, maxMessageBytes }: PolicyOptions,
  kind: Kind<Value>,
  { id, patch, precondition }: Update,
): Promise<Changed<Value>> {
  let result: Changed<Value> | undefined
  const revision = await store.change(state => {
    const before = find(state, kind, id)
    precondition(before.revision)
    const input = kind.parse(merged(before.value, patch))
    if (input.id !== id) throw invalid('id', 'cannot be changed')
    const { createdDateTime, modifiedDateTime } = before.value
    const after = { ...input, id, createdDateTime, modifiedDateTime } as unknown as Value
    const changed = topLevelChanges(before.value, after)
    result = { value: after, revision: before.revision, changed }
    if (changed.length === 0) return undefined
    const value = { ...after, modifiedDateTime: new Date().toISOString() }
    result = { ...result, value }
    checkSize(value, maxMessageBytes)
    kind.check(value, state)
    return { id: kind.key(id), value: kind.wrap(value) }
  })
  if (!result) throw new TypeError('a change was decided without a result')
  return revision === undefined ? result : { ...result, revision }
}

async function remove<Value extends Identified>(
  { store }: PolicyOptions,
  kind: Kind<Value>,
  id: string,
  precondition: Precondition,
): Promise<Versioned<Value>> {
  let removed: Value | undefined
  const revision = await store.change(state => {
    const found = find(state, kind, id)
    precondition(found.revision)
    kind.checkRemoval(found.value, state)
    removed = found.value
    return { id: kind.key(id), value: undefined }
  })
  if (!removed || revision === undefined) throw new TypeError('nothing was removed')
  return { value: removed, revision }
}

function find<Value>(state: State<PolicyEntry>, kind: Kind<Value>, id: string): Versioned<Value> {
  const found = state.get(kind.key(id))
  const value = found && kind.unwrap(found.value)
  if (found && value) return { value, revision: found.revision }
  throw new Refusal('resource_not_found', `there is no ${kind.name} "${id}"`)
}

function locationsOf({ conditions: { locations } }: ConditionalAccessPolicy) {
  const named = Object.entries(locations ?? {}).flatMap(([property, ids]) =>
    ids.map(id => ({ property: `conditions.locations.${property}`, id })),
  )
  return named.filter(({ id }) => !everywhere.has(id.toLowerCase()))
}

function checkLocations(policy: ConditionalAccessPolicy, state: State<PolicyEntry>): void {
  for (const { property, id } of locationsOf(policy)) {
    if (state.get(locationKey(id))) continue
    throw invalid(property, `there is no named location "${id}"; create it first`)
  }
}

function checkUnused({ id }: NamedLocation, { entries }: State<PolicyEntry>): void {
  for (const entry of entries.values()) {
    if (entry.kind !== 'policy') continue
    if (!locationsOf(entry.policy).some(named => named.id === id)) continue
    throw new Refusal('in_use', `the policy "${entry.policy.displayName}" uses this location`)
  }
}

/** Room for what surrounds an entry in a message. */
const envelopeBytes = 1_024

function checkSize(value: unknown, maxBytes: number): void {
  if (Buffer.byteLength(JSON.stringify(value)) + envelopeBytes <= maxBytes) return
  throw invalid('body', 'is too large: name groups instead of single users')
}
