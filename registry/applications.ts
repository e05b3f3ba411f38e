/**
 * Applications: create, read, update, delete, and the rules that no single entry can keep by itself: one address
 * belongs to one application, a connector group that is named exists, and what a group's connectors are told fits
 * into one message. Ids are for good: they stand in subjects and audit events.
 */

import { randomUUID } from 'node:crypto'
import { Application, Slug } from '#infra/contracts/application.ts'
import type { ConnectorGroup } from '#infra/contracts/connector.ts'
import type { ApplicationPatch, NewApplication, PublishingPatch } from './application-input.ts'
import { enforcedNames } from './application-input.ts'
import { checkExternalUrl, defaultExternalUrl } from './external-url.ts'
import { invalid, parseOrRefuse, Refusal } from './refusal.ts'
import type { State, Store, Versioned } from './store.ts'

export interface ApplicationOptions {
  store: Store<Application>
  groups: State<ConnectorGroup>
  externalBaseUrl: string | undefined
  /** Largest message of the bus. */
  maxListBytes: number
}

/** Whether a change is still meant for the revision that is there; it throws when not. */
export type Precondition = (revision: number) => void

/** A change that was made; `changed` is empty when everything was so already. */
export interface Changed<Value> extends Versioned<Value> {
  readonly changed: readonly string[]
}

export interface Applications {
  list(): Versioned<Application>[]
  /** By `id` or `appId`; refuses when there is none. */
  get(idOrAppId: string): Versioned<Application>
  create(input: NewApplication): Promise<Changed<Application>>
  update(
    id: string,
    patch: ApplicationPatch,
    precondition: Precondition,
  ): Promise<Changed<Application>>
  /** Any change of one application, as a function of what is there. */
  edit(
    id: string,
    precondition: Precondition,
    apply: (application: Application) => Application,
  ): Promise<Changed<Application>>
  remove(id: string, precondition: Precondition): Promise<Versioned<Application>>
}

export function openApplications(options: ApplicationOptions): Applications {
  const { store } = options
  const edit: Applications['edit'] = async (id, precondition, apply) => {
    let result: Omit<Changed<Application>, 'revision'> | undefined
    let present = 0
    const revision = await store.change(state => {
      const { value: before, revision } = find(state, id)
      precondition(revision)
      present = revision
      const after = parseOrRefuse(Application, apply(before))
      const changed = changedProperties(before, after)
      result = { value: after, changed }
      if (changed.length === 0) return undefined
      check(options, state, after)
      return { id: after.id, value: after }
    })
    if (!result) throw new TypeError('a change was decided without a result')
    return { ...result, revision: revision ?? present }
  }
  return {
    list: () => store.list(),
    get: id => find(store, id),
    create: input => create(options, input),
    update: (id, patch, precondition) => edit(id, precondition, before => merge(before, patch)),
    edit,
    remove: async (id, precondition) => {
      let removed: Application | undefined
      const revision = await store.change(state => {
        const { value, revision } = find(state, id)
        precondition(revision)
        removed = value
        return { id: value.id, value: undefined }
      })
      if (!removed || revision === undefined) throw new TypeError('nothing was removed')
      return { value: removed, revision }
    },
  }
}

async function create(
  options: ApplicationOptions,
  input: NewApplication,
): Promise<Changed<Application>> {
  const { store, externalBaseUrl } = options
  const id = input.id ?? slugOf(input)
  const publishing = {
    ...enforced(input.onPremisesPublishing),
    externalUrl: input.onPremisesPublishing.externalUrl ?? defaultExternalUrl(id, externalBaseUrl),
  }
  const value = parseOrRefuse(Application, {
    id,
    appId: input.appId ?? randomUUID(),
    displayName: input.displayName ?? input.uniqueName ?? id,
    createdDateTime: new Date().toISOString(),
    appRoleAssignmentRequired: input.appRoleAssignmentRequired,
    connectorGroupId: input.connectorGroupId,
    onPremisesPublishing: publishing,
  })
  const revision = await store.change(state => {
    if (state.entries.has(id)) {
      const message = `there is an application "${id}" already; change it, or give another id`
      throw new Refusal('already_exists', message, [{ property: 'id', message }])
    }
    check(options, state, value)
    return { id, value }
  })
  if (revision === undefined) throw new TypeError('an application was not written')
  return { value, revision, changed: Object.keys(input) }
}

function find(state: State<Application>, idOrAppId: string): Versioned<Application> {
  const direct = state.get(idOrAppId)
  if (direct) return direct
  for (const application of state.entries.values()) {
    const found = application.appId === idOrAppId && state.get(application.id)
    if (found) return found
  }
  throw new Refusal('resource_not_found', `there is no application "${idOrAppId}"`)
}

function merge(before: Application, patch: ApplicationPatch): Application {
  const fixed = { ...patch, id: patch.id ?? patch.uniqueName }
  for (const name of ['id', 'appId', 'createdDateTime'] as const) {
    if (fixed[name] !== undefined && fixed[name] !== before[name])
      throw invalid(name, 'cannot be changed')
  }
  const publishing = patch.onPremisesPublishing
  return {
    ...before,
    displayName: patch.displayName ?? before.displayName,
    appRoleAssignmentRequired: patch.appRoleAssignmentRequired ?? before.appRoleAssignmentRequired,
    connectorGroupId: patch.connectorGroupId ?? before.connectorGroupId,
    onPremisesPublishing: {
      ...before.onPremisesPublishing,
      ...(publishing && enforced(publishing)),
    },
  }
}

/**
 * The enforced properties that a body says something of. Null becomes undefined: the contract's default applies when
 * the whole is parsed.
 */
function enforced(patch: PublishingPatch): Partial<Application['onPremisesPublishing']> {
  const named = enforcedNames.filter(name => patch[name] !== undefined)
  return Object.fromEntries(named.map(name => [name, patch[name] ?? undefined]))
}

function slugOf({ uniqueName, displayName }: NewApplication): string {
  const name = uniqueName ?? displayName
  if (name === undefined) throw invalid('displayName', 'is required when there is no id')
  const id = toSlug(name)
  if (Slug.safeParse(id).success) return id
  throw invalid('id', 'cannot be made from the name, which has no Latin letter or digit; give one')
}

/** "Wiki (Paris)" becomes `wiki-paris`. */
export function toSlug(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '')
}

function check(
  options: ApplicationOptions,
  state: State<Application>,
  candidate: Application,
): void {
  const others = [...state.entries.values()].filter(({ id }) => id !== candidate.id)
  const { connectorGroupId } = candidate
  if (!options.groups.get(connectorGroupId)) {
    throw invalid('connectorGroupId', `there is no connector group "${connectorGroupId}"`)
  }
  const sameAppId = others.find(({ appId }) => appId === candidate.appId)
  if (sameAppId) {
    throw new Refusal('already_exists', `appId belongs to the application "${sameAppId.id}"`)
  }
  checkExternalUrl(candidate, others, options.externalBaseUrl)
  checkSize(options.maxListBytes, others, candidate)
}

/** Connectors get their group's list in one message, and the application itself is one. */
function checkSize(maxBytes: number, others: Application[], candidate: Application): void {
  const { connectorGroupId } = candidate
  const group = others.filter(other => other.connectorGroupId === connectorGroupId)
  const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value))
  const listBytes = bytes([...group, candidate].map(forConnectors)) + 1_024
  if (listBytes > maxBytes) {
    throw invalid(
      'connectorGroupId',
      `the applications of "${connectorGroupId}" no longer fit into one message to its connectors; ` +
        'put some of them into another connector group',
    )
  }
  if (bytes(candidate) + 1_024 > maxBytes) {
    throw invalid('appRoleAssignments', 'are too many: assign groups instead of single users')
  }
}

/** Connectors need not know who may use an application. */
export function forConnectors(application: Application): Application {
  return { ...application, appRoleAssignments: [] }
}

/** Names of properties that differ, those of onPremisesPublishing with their path. */
function changedProperties(before: Application, after: Application): string[] {
  const differ = (one: unknown, other: unknown) => JSON.stringify(one) !== JSON.stringify(other)
  const names = Object.keys(after) as (keyof Application)[]
  return names.flatMap(name => {
    if (name !== 'onPremisesPublishing') return differ(before[name], after[name]) ? [name] : []
    return enforcedNames
      .filter(key => differ(before[name][key], after[name][key]))
      .map(key => `${name}.${key}`)
  })
}
