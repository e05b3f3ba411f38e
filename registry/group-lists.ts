/**
 * The applications of each connector group, as its connectors are told of them: in pages, and as what has changed
 * since a version. Nothing is kept for a connector: any registry answers any page. What is kept grows with the number
 * of applications by their ids alone, and the memory of changes has a limit; who asks for older ones reads the list
 * anew.
 */

import {
  type Application,
  type ApplicationChanges,
  type ApplicationPage,
  groupIdsOf,
  isPublished,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { Change } from '#infra/snapshot.ts'
import { forConnectors } from './application-rules.ts'
import type { State } from './store.ts'

export interface GroupListsOptions {
  store: State<RegisteredApplication> & { readonly revision: number }
  /** Of the applications in one message; a single one may be larger. */
  maxBytes: number
  maxRemembered?: number
}

/** That an application entered a group, left it, or changed within it. */
interface Remembered {
  readonly revision: number
  readonly group: string
  readonly id: string
}

const maxRemembered = 50_000

export class GroupLists {
  readonly #options: Required<GroupListsOptions>
  /** Ids of each group's published applications, in order. */
  readonly #ids = new Map<string, string[]>()
  /** By revision. */
  #remembered: Remembered[] = []
  /** The revision after which every change is remembered. */
  #since: number
  /** Version of the last change of each group that has changed. */
  readonly #changedAt = new Map<string, number>()

  constructor(options: GroupListsOptions) {
    this.#options = { maxRemembered, ...options }
    this.#since = options.store.revision
    for (const application of options.store.entries.values()) {
      for (const group of groupsOf(application)) {
        const ids = this.#ids.get(group)
        if (ids) ids.push(application.id)
        else this.#ids.set(group, [application.id])
      }
    }
    for (const ids of this.#ids.values()) ids.sort(byCodeUnits)
  }

  /** Takes in what the store has just changed, and returns what to tell each group that it concerns. */
  apply(
    changes: readonly Change<RegisteredApplication>[],
  ): ReadonlyMap<string, ApplicationChanges> {
    const news = changes.flatMap(change => this.#move(change))
    news.sort((a, b) => a.revision - b.revision)
    this.#remember(news)
    const told = new Map<string, ApplicationChanges>()
    for (const [group, concerned] of Map.groupBy(news, ({ group }) => group)) {
      told.set(group, this.#tell(group, concerned))
      this.#changedAt.set(group, this.#version)
    }
    return told
  }

  /** The page that begins after this id. */
  page(group: string, after = ''): ApplicationPage {
    const ids = this.#ids.get(group) ?? []
    const size = new Size(this.#options.maxBytes)
    const applications: Application[] = []
    let at = firstAfter(ids, after)
    for (; at < ids.length; at++) {
      const application = this.#member(group, ids[at] ?? '')
      if (!application) continue
      if (!size.fits(application) && applications.length > 0) break
      applications.push(application)
    }
    return { kind: 'page', version: this.#version, applications, isLast: at >= ids.length }
  }

  /**
   * What has changed since a version, as far as one message holds it: then it ends at an earlier version than the
   * present one. Undefined when it is not known, or what came with one revision is too much for one message.
   */
  changes(group: string, since: number): ApplicationChanges | undefined {
    if (since < this.#since) return undefined
    const first = this.#remembered.findLastIndex(({ revision }) => revision <= since) + 1
    const news = this.#remembered.slice(first).filter(each => each.group === group)
    const changes = this.#collect(group, since, news)
    return changes.version > since || news.length === 0 ? changes : undefined
  }

  /** Says only where the list stands: who has an older version will ask. */
  standing(group: string): ApplicationChanges {
    const since = this.#changedAt.get(group) ?? this.#since
    return { kind: 'changes', since, version: this.#version, changed: [], removed: [] }
  }

  get #version(): number {
    return this.#options.store.revision
  }

  #tell(group: string, news: readonly Remembered[]): ApplicationChanges {
    const changes = this.#collect(group, this.standing(group).since, news)
    if (changes.version === this.#version) return changes
    // Too much for one message: every connector asks for it, at its own pace.
    return { ...changes, since: this.#version, version: this.#version, changed: [], removed: [] }
  }

  /** As much of the news as fits. What it says of an application may be newer than its version; that comes again. */
  #collect(group: string, since: number, news: readonly Remembered[]): ApplicationChanges {
    const size = new Size(this.#options.maxBytes)
    const changes: ApplicationChanges = { ...this.standing(group), since }
    const taken = new Set<string>()
    let [complete, present] = [since, since]
    for (const { id, revision } of news) {
      if (revision > present) [complete, present] = [present, revision]
      if (taken.has(id)) continue
      const application = this.#member(group, id)
      if (!size.fits(application ?? id)) return { ...changes, version: complete }
      taken.add(id)
      if (application) changes.changed.push(application)
      else changes.removed.push(id)
    }
    return { ...changes, version: Math.max(since, this.#version) }
  }

  #member(group: string, id: string): Application | undefined {
    const application = this.#options.store.entries.get(id)
    const isMember =
      application && isPublished(application) && groupIdsOf(application).includes(group)
    return isMember ? forConnectors(application) : undefined
  }

  #move({ key: id, before, after }: Change<RegisteredApplication>): Remembered[] {
    const [from, to] = [groupsOf(before), groupsOf(after)]
    for (const group of from) if (!to.includes(group)) this.#leave(group, id)
    for (const group of to) if (!from.includes(group)) this.#join(group, id)
    const revision = this.#options.store.get(id)?.revision ?? this.#version
    return [...new Set([...from, ...to])].map(group => ({ revision, group, id }))
  }

  #join(group: string, id: string): void {
    const ids = this.#ids.get(group) ?? []
    ids.splice(firstAfter(ids, id), 0, id)
    this.#ids.set(group, ids)
  }

  #leave(group: string, id: string): void {
    const ids = this.#ids.get(group) ?? []
    const at = firstAfter(ids, id) - 1
    if (ids[at] === id) ids.splice(at, 1)
    if (ids.length === 0) this.#ids.delete(group)
  }

  #remember(news: readonly Remembered[]): void {
    for (const each of news) this.#remembered.push(each)
    const excess = this.#remembered.length - this.#options.maxRemembered
    if (excess <= 0) return
    // Half of them, so that it is done rarely.
    const forgotten = this.#remembered.splice(0, excess + this.#options.maxRemembered / 2)
    this.#since = forgotten.at(-1)?.revision ?? this.#since
  }
}

/** How much room is left in a message. */
class Size {
  #left: number

  constructor(bytes: number) {
    this.#left = bytes
  }

  fits(value: unknown): boolean {
    this.#left -= Buffer.byteLength(JSON.stringify(value)) + 1
    return this.#left >= 0
  }
}

/** The groups whose connectors serve an application: none while it is not published. */
function groupsOf(application: RegisteredApplication | undefined): string[] {
  return application && isPublished(application) ? groupIdsOf(application) : []
}

/** Index of the first id that comes after this one. */
function firstAfter(ids: readonly string[], id: string): number {
  let [low, high] = [0, ids.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((ids[middle] ?? '') <= id) low = middle + 1
    else high = middle
  }
  return low
}

const byCodeUnits = (a: string, b: string) => (a < b ? -1 : Number(a > b))
