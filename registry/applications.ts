/**
 * Applications: create, read, update, delete; published or not yet. Ids are for good: they stand in subjects and audit
 * events. An application whose publishing ends is revoked, so that what it still does ends with it.
 */

import { randomUUID } from 'node:crypto'
import { isPublished, RegisteredApplication, Slug } from '#infra/contracts/application.ts'
import type { Revocation } from '#infra/contracts/policy.ts'
import type { ApplicationPatch, NewApplication, PublishingPatch } from './application-input.ts'
import { enforcedNames } from './application-input.ts'
import { checkApplication, checkGroups, type GroupRules } from './application-rules.ts'
import { defaultExternalUrl } from './external-url.ts'
import { invalid, parseOrRefuse, Refusal } from './refusal.ts'
import { toSlug } from './slug.ts'
import type { State, Store, Versioned } from './store.ts'

export interface ApplicationOptions extends GroupRules {
  store: Store<RegisteredApplication>
  revoke: (revocation: Revocation) => void
}

/** Whether a change is still meant for the version that is there (mostly a revision); it throws when not. */
export type Precondition = (version: number | string) => void

/** A change that was made; `changed` is empty when everything was so already. */
export interface Changed<Value> extends Versioned<Value> {
  readonly changed: readonly string[]
}

type Apply = (application: RegisteredApplication) => unknown

export interface Applications {
  list(): Versioned<RegisteredApplication>[]
  /** By `id` or `appId`; refuses when there is none. */
  get(idOrAppId: string): Versioned<RegisteredApplication>
  create(input: NewApplication): Promise<Changed<RegisteredApplication>>
  update(
    id: string,
    patch: ApplicationPatch,
    precondition: Precondition,
  ): Promise<Changed<RegisteredApplication>>
  /** Any change of one application, as a function of what is there. Its result is checked. */
  edit(
    id: string,
    precondition: Precondition,
    apply: Apply,
  ): Promise<Changed<RegisteredApplication>>
  remove(id: string, precondition: Precondition): Promise<Versioned<RegisteredApplication>>
}

export function openApplications(options: ApplicationOptions): Applications {
  const { store, externalBaseUrl } = options
  const edit: Applications['edit'] = (id, precondition, apply) =>
    editOne(options, { id, precondition, apply })
  return {
    list: () => store.list(),
    get: id => find(store, id),
    create: input => create(options, input),
    update: (id, patch, precondition) =>
      edit(id, precondition, before => merge(before, patch, externalBaseUrl)),
    edit,
    remove: (id, precondition) => remove(options, id, precondition),
  }
}

async function create(
  options: ApplicationOptions,
  input: NewApplication,
): Promise<Changed<RegisteredApplication>> {
  const { store, externalBaseUrl } = options
  const id = input.id ?? slugOf(input)
  if (input.uniqueName !== undefined && toSlug(input.uniqueName) !== id)
    throw invalid('uniqueName', `is another name for the id, which is "${id}": leave one out`)
  const value = parseOrRefuse(RegisteredApplication, {
    id,
    appId: input.appId ?? randomUUID(),
    displayName: input.displayName ?? input.uniqueName ?? id,
    createdDateTime: new Date().toISOString(),
    appRoleAssignmentRequired: input.appRoleAssignmentRequired,
    connectorGroupId: input.connectorGroupId,
    standbyConnectorGroupId: input.standbyConnectorGroupId,
    onPremisesPublishing:
      input.onPremisesPublishing && begin(id, input.onPremisesPublishing, externalBaseUrl),
  })
  const revision = await store.change(async state => {
    if (state.entries.has(id)) {
      const message = `there is an application "${id}" already; change it, or give another id`
      throw new Refusal('already_exists', message, [{ property: 'id', message }])
    }
    checkApplication(options, value)
    await checkGroups(options, undefined, value)
    return { id, value }
  })
  if (revision === undefined) throw new TypeError('an application was not written')
  return { value, revision, changed: Object.keys(input) }
}

interface Edit {
  id: string
  precondition: Precondition
  apply: Apply
}

async function editOne(
  options: ApplicationOptions,
  { id, precondition, apply }: Edit,
): Promise<Changed<RegisteredApplication>> {
  const { store } = options
  let result: { before: Versioned<RegisteredApplication>; after: RegisteredApplication } | undefined
  const revision = await store.change(async state => {
    const before = find(state, id)
    precondition(before.revision)
    const after = parseOrRefuse(RegisteredApplication, apply(before.value))
    result = { before, after }
    if (changedProperties(before.value, after).length === 0) return undefined
    checkApplication(options, after, before.value)
    await checkGroups(options, before.value, after)
    return { id: after.id, value: after }
  })
  if (!result) throw new TypeError('a change was decided without a result')
  const { before, after } = result
  const changed = changedProperties(before.value, after)
  if (revision === undefined) return { value: after, revision: before.revision, changed }
  if (!isPublished(after)) end(options, before.value, { revision, reason: 'publishing-ended' })
  return { value: after, revision, changed }
}

async function remove(
  options: ApplicationOptions,
  id: string,
  precondition: Precondition,
): Promise<Versioned<RegisteredApplication>> {
  let removed: RegisteredApplication | undefined
  const revision = await options.store.change(state => {
    const found = find(state, id)
    precondition(found.revision)
    removed = found.value
    return { id: removed.id, value: undefined }
  })
  if (!removed || revision === undefined) throw new TypeError('nothing was removed')
  end(options, removed, { revision, reason: 'application-deleted' })
  return { value: removed, revision }
}

/** Tells everybody who still serves an application that was published until this revision. */
function end(
  { revoke }: ApplicationOptions,
  application: RegisteredApplication,
  ended: Required<Pick<Revocation, 'revision' | 'reason'>>,
): void {
  if (!isPublished(application)) return
  revoke({ kind: 'application', id: application.id, atMs: Date.now(), ...ended })
}

function find(
  state: State<RegisteredApplication>,
  idOrAppId: string,
): Versioned<RegisteredApplication> {
  const direct = state.get(idOrAppId)
  if (direct) return direct
  const appId = idOrAppId.toLowerCase()
  for (const application of state.entries.values()) {
    const found = application.appId.toLowerCase() === appId && state.get(application.id)
    if (found) return found
  }
  throw new Refusal('resource_not_found', `there is no application "${idOrAppId}"`)
}

function merge(
  before: RegisteredApplication,
  patch: ApplicationPatch,
  externalBaseUrl: string | undefined,
) {
  const fixed = { ...before, uniqueName: before.id }
  for (const name of ['id', 'uniqueName', 'appId', 'createdDateTime'] as const) {
    if (patch[name] !== undefined && patch[name] !== fixed[name])
      throw invalid(name, 'cannot be changed')
  }
  return {
    ...before,
    displayName: patch.displayName ?? before.displayName,
    appRoleAssignmentRequired: patch.appRoleAssignmentRequired ?? before.appRoleAssignmentRequired,
    connectorGroupId: patch.connectorGroupId ?? before.connectorGroupId,
    standbyConnectorGroupId:
      patch.standbyConnectorGroupId === undefined
        ? before.standbyConnectorGroupId
        : patch.standbyConnectorGroupId,
    onPremisesPublishing: mergePublishing(before, patch.onPremisesPublishing, externalBaseUrl),
  }
}

function mergePublishing(
  { id, onPremisesPublishing: before }: RegisteredApplication,
  patch: PublishingPatch | null | undefined,
  externalBaseUrl: string | undefined,
) {
  if (patch === undefined) return before
  if (patch === null) return null
  if (before === null) return begin(id, patch, externalBaseUrl)
  return { ...before, ...enforced(patch) }
}

/** How an application begins to be published: at the default address if none is given. */
function begin(id: string, patch: PublishingPatch, externalBaseUrl: string | undefined) {
  const externalUrl = patch.externalUrl ?? defaultExternalUrl(id, externalBaseUrl)
  return { ...enforced(patch), externalUrl }
}

/**
 * The enforced properties that a body says something of. Null becomes undefined: the contract's default applies when
 * the whole is parsed.
 */
function enforced(patch: PublishingPatch) {
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

/** Names of properties that differ; of publishing that goes on, those within it with their path. */
function changedProperties(before: RegisteredApplication, after: RegisteredApplication): string[] {
  const differ = (one: unknown, other: unknown) => JSON.stringify(one) !== JSON.stringify(other)
  const names = Object.keys(after) as (keyof RegisteredApplication)[]
  return names.flatMap(name => {
    if (!differ(before[name], after[name])) return []
    if (name !== 'onPremisesPublishing' || !before[name] || !after[name]) return [name]
    const [from, to] = [before[name], after[name]]
    return enforcedNames.filter(key => differ(from[key], to[key])).map(key => `${name}.${key}`)
  })
}
