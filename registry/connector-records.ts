/**
 * The records of connectors: written by compare-and-set, since every registry writes to them, and one after the other
 * for each connector. Whoever's write counts tells of it, so that every event is told once.
 */

import type { Audit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import type { ConnectorEvent } from '#infra/contracts/audit.ts'
import type { Connector } from '#infra/contracts/connector.ts'
import { SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import type { Transition } from './presence.ts'
import { Refusal } from './refusal.ts'
import type { Store, Versioned } from './store.ts'

export interface RecordsOptions {
  bus: Bus
  store: Store<Connector>
  audit: Audit
  log: Logger
}

/** What becomes of a record; undefined for what stays as it is. */
export interface ConnectorChange {
  /** Called once more whenever somebody else wrote in between; refuses by throwing. */
  apply: (known: Connector | undefined) => Connector | undefined
  /** Told when something was written. */
  outcome?: ConnectorEvent['outcome']
}

/** Whoever ends so takes no exchange any more; of one that is lost the bus has told already. */
const endings: readonly ConnectorEvent['outcome'][] = ['stopped', 'inactive', 'disabled', 'removed']

/** A write that others were faster than is decided anew, so often. */
const maxAttempts = 20

/** Facts of one connector that wait to be written. Of more only the latest is kept: they come faster than they go. */
const mostWaiting = 32

type Decide = (known: Connector | undefined) => Transition | undefined

export class ConnectorRecords implements AsyncDisposable {
  readonly #options: RecordsOptions
  /** Writes of one connector follow each other: each must see what the one before it wrote. */
  readonly #writing = new Map<string, Promise<unknown>>()
  readonly #waiting = new Map<string, Decide[]>()

  constructor(options: RecordsOptions) {
    this.#options = options
  }

  /** Refuses when there is none. */
  get(id: string): Versioned<Connector> {
    const found = this.#options.store.get(id)
    if (found) return found
    throw new Refusal('resource_not_found', `there is no connector "${id}"`)
  }

  /**
   * Writes what a fact makes of a record, when nobody else was faster: whoever was has heard of the same. Decides once
   * more when the writes before this one are done: what they wrote may make it needless, or needed.
   */
  turn(id: string, decide: Decide): void {
    const { store } = this.#options
    if (!this.#writing.has(id) && !decide(store.get(id)?.value)) return
    if (!this.#isRoomFor(id, decide)) return
    void this.#inBackground(id, async () => {
      const known = store.get(id)
      const transition = this.#nextOf(id)?.(known?.value)
      if (!transition) return
      const isOurs = await store.replace(id, transition.record, known?.revision)
      if (isOurs && transition.event) this.#tell(transition.record, transition.event)
    })
  }

  /** Without room it takes the place of the last one that waits. */
  #isRoomFor(id: string, decide: Decide): boolean {
    const waiting = this.#waiting.get(id) ?? []
    const isRoom = waiting.length < mostWaiting
    waiting.splice(isRoom ? waiting.length : -1, 1, decide)
    this.#waiting.set(id, waiting)
    return isRoom
  }

  #nextOf(id: string): Decide | undefined {
    const waiting = this.#waiting.get(id)
    const next = waiting?.shift()
    if (waiting?.length === 0) this.#waiting.delete(id)
    return next
  }

  /** Forgets a connector if that is still right when the writes before are done. */
  forget(id: string, isDue: (known: Connector) => boolean): Promise<void> {
    const { store } = this.#options
    return this.#inBackground(id, async () => {
      const known = store.get(id)
      if (!known || !isDue(known.value)) return
      if (await store.remove(id, known.revision)) this.#tell(known.value, 'removed')
    })
  }

  /** Writes whatever else is written at the same time. True when something was written. */
  change(id: string, { apply, outcome }: ConnectorChange): Promise<boolean> {
    const { store } = this.#options
    return this.#insist(id, async () => {
      const known = store.get(id)
      const record = apply(known?.value)
      if (record === undefined) return { result: false }
      if (!(await store.replace(id, record, known?.revision))) return undefined
      if (outcome) this.#tell(record, outcome)
      return { result: true }
    })
  }

  /** Takes a record away, and returns it as it was. Refuses when there is none, and when `check` throws. */
  remove(id: string, check?: (known: Connector) => void): Promise<Connector> {
    const { store } = this.#options
    return this.#insist(id, async () => {
      const { value, revision } = this.get(id)
      check?.(value)
      if (!(await store.remove(id, revision))) return undefined
      // Whoever is cut off is judged by what this registry sees.
      await store.sync()
      this.#tell(value, 'removed')
      return { result: value }
    })
  }

  /** Tries until it gives a result: undefined says that somebody else was faster. */
  #insist<Result>(
    id: string,
    write: () => Promise<{ result: Result } | undefined>,
  ): Promise<Result> {
    return this.#after(id, async () => {
      for (let attempt = 1; attempt <= maxAttempts; attempt++) {
        const written = await write()
        if (written) return written.result
        await this.#options.store.sync()
      }
      throw new SallyportError('conflict', `connector "${id}" changes too often to be written`)
    })
  }

  #inBackground(id: string, write: () => Promise<void>): Promise<void> {
    return this.#after(id, write).catch(error =>
      this.#options.log.warn({ connectorId: id, error }, 'presence was not written'),
    )
  }

  /** Runs when the writes of this connector before it are done, however they ended. */
  #after<Result>(id: string, write: () => Promise<Result>): Promise<Result> {
    const result = (this.#writing.get(id) ?? Promise.resolve()).then(write)
    const done = result
      .catch(() => undefined)
      .finally(() => {
        if (this.#writing.get(id) === done) this.#writing.delete(id)
      })
    this.#writing.set(id, done)
    return result
  }

  #tell(connector: Connector, outcome: ConnectorEvent['outcome']): void {
    const { bus, audit, log } = this.#options
    const { id, connectorGroupId, machineName, version } = connector
    log.info({ connectorId: id, connectorGroupId }, `connector ${outcome}`)
    audit.record({
      category: 'connector',
      outcome,
      connector: id,
      connectorGroup: connectorGroupId,
      machineName,
      version,
      requestId: null,
      user: null,
      session: null,
      application: null,
    })
    if (endings.includes(outcome)) {
      bus.publishJson(subjects.connectorGone(id), { connectorId: id, reason: outcome })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#writing.values())
  }
}
