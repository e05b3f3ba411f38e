/**
 * Connector groups: create, read, rename, delete. The group `default` exists from the first start and stays. A group
 * with applications, active or enrolled connectors cannot be deleted; others of it are forgotten with it.
 *
 * No application may end up in a group that is gone, though both rest in buckets of their own and several registries
 * write to them. So a group is closed first. Then the applications are fenced: what was decided before the fence is
 * seen, what is decided after it sees that the group is closed. Only then is the group looked at and deleted.
 */

import { z } from 'zod'
import { groupIdsOf, type RegisteredApplication, Slug } from '#infra/contracts/application.ts'
import {
  type Connector,
  ConnectorGroup,
  defaultConnectorGroupId,
} from '#infra/contracts/connector.ts'
import { annotated } from '#infra/contracts/graph.ts'
import type { Changed, Precondition } from './applications.ts'
import { invalid, Refusal } from './refusal.ts'
import { toSlug } from './slug.ts'
import type { State, Store, Versioned } from './store.ts'

/** Graph's region says which of Microsoft's data centres serves the group; here there is nothing to choose. */
const region = z.null({ error: 'is not enforced by Sallyport: leave it out or null' }).optional()

/** Body of POST …/connectorGroups. */
export const NewConnectorGroup = annotated(
  z.strictObject({
    id: Slug.optional().describe('Made from the name when it is left out.'),
    name: ConnectorGroup.shape.name,
    connectorGroupType: z.literal('applicationProxy').optional(),
    region,
  }),
)
export type NewConnectorGroup = z.output<typeof NewConnectorGroup>

/** Body of PATCH …/connectorGroups/{id}. */
export const ConnectorGroupPatch = annotated(
  z.strictObject({
    id: Slug.optional(),
    name: ConnectorGroup.shape.name.optional(),
    connectorGroupType: z.literal('applicationProxy').optional(),
    isDefault: z.boolean().optional(),
    createdDateTime: z.string().optional(),
    region,
  }),
)
export type ConnectorGroupPatch = z.output<typeof ConnectorGroupPatch>

export interface ConnectorGroupOptions {
  store: Store<ConnectorGroup>
  applications: State<RegisteredApplication> & Pick<Store<RegisteredApplication>, 'fence'>
  connectors: State<Connector> & Pick<Store<Connector>, 'sync'>
}

export interface ConnectorGroups {
  list(): Versioned<ConnectorGroup>[]
  /** Refuses when there is none. */
  get(id: string): Versioned<ConnectorGroup>
  create(input: NewConnectorGroup): Promise<Changed<ConnectorGroup>>
  update(
    id: string,
    patch: ConnectorGroupPatch,
    precondition: Precondition,
  ): Promise<Changed<ConnectorGroup>>
  remove(id: string, precondition: Precondition): Promise<Versioned<ConnectorGroup>>
  /** Creates the group `default` if it does not exist. */
  ensureDefault(): Promise<void>
}

export function openConnectorGroups(options: ConnectorGroupOptions): ConnectorGroups {
  const { store } = options
  return {
    list: () => store.list(),
    get: id => find(store, id),
    create: input => create(store, input),
    update: (id, patch, precondition) => update(store, id, patch, precondition),
    remove: (id, precondition) => remove(options, id, precondition),
    ensureDefault: async () => {
      await store.change(({ entries }) => {
        if (entries.has(defaultConnectorGroupId)) return undefined
        const value = newGroup(defaultConnectorGroupId, 'Default', true)
        return { id: value.id, value }
      })
    },
  }
}

function newGroup(id: string, name: string, isDefault: boolean): ConnectorGroup {
  const createdDateTime = new Date().toISOString()
  return {
    id,
    name,
    connectorGroupType: 'applicationProxy',
    isDefault,
    isClosing: false,
    createdDateTime,
  }
}

function find(state: State<ConnectorGroup>, id: string): Versioned<ConnectorGroup> {
  const found = state.get(id)
  if (found) return found
  throw new Refusal('resource_not_found', `there is no connector group "${id}"`)
}

async function create(
  store: Store<ConnectorGroup>,
  input: NewConnectorGroup,
): Promise<Changed<ConnectorGroup>> {
  const id = input.id ?? toSlug(input.name)
  if (!Slug.safeParse(id).success) {
    throw invalid(
      'id',
      'cannot be made from the name, which has no Latin letter or digit; give one',
    )
  }
  const value = newGroup(id, input.name, false)
  const revision = await store.change(({ entries }) => {
    if (entries.has(id)) {
      const message = `there is a connector group "${id}" already; give another id`
      throw new Refusal('already_exists', message, [{ property: 'id', message }])
    }
    return { id, value }
  })
  if (revision === undefined) throw new TypeError('a connector group was not written')
  return { value, revision, changed: Object.keys(input) }
}

async function update(
  store: Store<ConnectorGroup>,
  id: string,
  patch: ConnectorGroupPatch,
  precondition: Precondition,
): Promise<Changed<ConnectorGroup>> {
  let before = find(store, id)
  let after = before.value
  const written = await store.change(state => {
    before = find(state, id)
    precondition(before.revision)
    for (const name of ['id', 'isDefault', 'createdDateTime'] as const) {
      if (patch[name] !== undefined && patch[name] !== before.value[name])
        throw invalid(name, 'cannot be changed')
    }
    after = { ...before.value, name: patch.name ?? before.value.name, isClosing: false }
    return after.name === before.value.name ? undefined : { id, value: after }
  })
  const changed = written === undefined ? [] : ['name']
  return { value: after, revision: written ?? before.revision, changed }
}

async function remove(
  options: ConnectorGroupOptions,
  id: string,
  precondition: Precondition,
): Promise<Versioned<ConnectorGroup>> {
  const { store, applications, connectors } = options
  const closed = await close(options, id, precondition)
  await applications.fence()
  // Whoever moves a connector here looks at the group once more when that is written (connector-placement.ts).
  await connectors.sync()
  try {
    refuseWhileUsed(options, id)
  } catch (error) {
    await reopen(store, closed)
    throw error
  }
  const { value } = closed
  const revision = await store.change(state => {
    if (find(state, id).revision === closed.revision) return { id, value: undefined }
    throw new Refusal('conflict', `connector group "${id}" was changed while it was being deleted`)
  })
  if (revision === undefined) throw new TypeError('a connector group was not removed')
  return { value, revision }
}

/** The group as one that takes no application any more. */
async function close(
  options: ConnectorGroupOptions,
  id: string,
  precondition: Precondition,
): Promise<Versioned<ConnectorGroup>> {
  let found = find(options.store, id)
  const written = await options.store.change(state => {
    found = find(state, id)
    precondition(found.revision)
    if (found.value.isDefault) throw new Refusal('in_use', 'the default connector group stays')
    // Closed already: by somebody else at this moment, or by whoever could not finish. What follows holds for both.
    if (found.value.isClosing) return undefined
    refuseWhileUsed(options, id)
    return { id, value: { ...found.value, isClosing: true } }
  })
  return { value: found.value, revision: written ?? found.revision }
}

async function reopen(store: Store<ConnectorGroup>, closed: Versioned<ConnectorGroup>) {
  await store.change(state => {
    const { id } = closed.value
    const isStillClosed = state.get(id)?.revision === closed.revision
    return isStillClosed ? { id, value: { ...closed.value, isClosing: false } } : undefined
  })
}

function refuseWhileUsed({ applications, connectors }: ConnectorGroupOptions, id: string): void {
  const users = [...applications.entries.values()].filter(app => groupIdsOf(app).includes(id))
  refuseWhile(id, 'applications', users)
  const members = [...connectors.entries.values()].filter(one => one.connectorGroupId === id)
  // Whoever is enrolled has been put here by an administrator and may come back.
  const kept = members.filter(one => one.status === 'active' || one.certificates.length > 0)
  refuseWhile(id, 'connectors', kept)
}

function refuseWhile(id: string, what: string, users: readonly { id: string }[]): void {
  if (users.length === 0) return
  const first = users.slice(0, 5).map(user => user.id)
  const more = users.length > first.length ? ` and ${users.length - first.length} more` : ''
  throw new Refusal(
    'in_use',
    `connector group "${id}" has ${what}: ${first.join(', ')}${more}; move them first`,
  )
}
