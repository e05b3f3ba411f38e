/**
 * Revocations: what ends sessions and applications early. Known are those that were heard directly and those whose
 * tombstone the watched bucket shows; infra/revocations.ts says how they are made.
 */

import type { KV } from '@nats-io/kv'
import { LRUCache } from 'lru-cache'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import { Revocation, revocationKey } from '#infra/contracts/policy.ts'
import type { SessionFacts } from '#infra/contracts/principal.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { Revoker } from '#infra/revocations.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { subjects } from '#infra/subjects.ts'

export interface RevocationsOptions {
  bus: Bus
  bucket: KV
  /** The bucket as it is watched. */
  tombstones: Snapshot<Revocation>
  log: Logger
  onRevoked: (revocation: Revocation) => void
}

/** Revocations heard of directly, until the watched bucket shows them. */
const maxHeard = 10_000

export class Revocations implements AsyncDisposable {
  readonly #options: RevocationsOptions
  readonly #heard = new LRUCache<string, Revocation>({ max: maxHeard })
  readonly #revoker: Revoker
  readonly #stack = new DisposableStack()

  constructor(options: RevocationsOptions) {
    this.#options = options
    const { bus, tombstones } = options
    this.#revoker = new Revoker(options)
    const heard = bus.subscribe(subjects.revocations, {
      callback: ({ data }) => this.#hear(parseJson(Revocation, data, 'revocation')),
    })
    this.#stack.defer(() => heard.unsubscribe())
    this.#stack.defer(
      tombstones.onChange(changes => {
        for (const { after } of changes) if (after) options.onRevoked(after)
      }),
    )
  }

  #hear(revocation: Revocation): void {
    const key = revocationKey(revocation.kind, revocation.id)
    // It may be said once more when its tombstone is stored, after a later one.
    const isLatest = (this.#heard.get(key)?.atMs ?? Number.NEGATIVE_INFINITY) <= revocation.atMs
    if (isLatest) this.#heard.set(key, revocation)
    this.#options.onRevoked(revocation)
  }

  /** Waits until the tombstones of this revision are seen; false when they are not in time. */
  reached(revision: number, timeoutMs: number): Promise<boolean> {
    return this.#options.tombstones.reached(revision, timeoutMs)
  }

  /** Whether a session was ended, by itself or with everything of its user up to a time. */
  isRevoked(sessionId: string, { principal, signedInAtMs }: SessionFacts): boolean {
    if (this.#find('session', sessionId)) return true
    const ofUser = this.#find('user', principal.userPrincipalName.toLowerCase())
    return ofUser !== undefined && signedInAtMs <= ofUser.atMs
  }

  isSessionRevoked(sessionId: string): boolean {
    return this.#find('session', sessionId) !== undefined
  }

  /**
   * Whether an application was ended in a later revision than this one: the bucket has not shown it here yet. One of
   * the same name that was published afterwards is not touched, also when the bucket itself was made anew.
   */
  isEnded({ id, createdDateTime }: Application, revision: number): boolean {
    const ended = this.#find('application', id)
    if (ended?.revision === undefined) return false
    return ended.revision > revision && ended.atMs >= Date.parse(createdDateTime)
  }

  #find(kind: Revocation['kind'], id: string): Revocation | undefined {
    const key = revocationKey(kind, id)
    const [heard, stored] = [this.#heard.get(key), this.#options.tombstones.entries.get(key)]
    if (heard && stored) return heard.atMs > stored.atMs ? heard : stored
    return heard ?? stored
  }

  /** Takes effect here at once, elsewhere as fast as the bus carries it. The tombstone follows. */
  revoke(revocation: Revocation): void {
    this.#hear(revocation)
    this.#revoker.revoke(revocation)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stack.dispose()
    await this.#revoker[Symbol.asyncDispose]()
  }
}
