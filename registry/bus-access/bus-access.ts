/**
 * Who of the connectors is on the bus: let in by certificate and record, and out as soon as the record says so. The
 * record is always written first. What is live then is looked for and ended; what was being let in at that moment by
 * what the record said before is ended when the server tells that it has begun. Any number of registries do this side by
 * side: ending what has ended already does no harm.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Audit } from '#infra/audit.ts'
import type { Bus } from '#infra/bus.ts'
import type { BusAddress } from '#infra/bus-connection.ts'
import type { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import { detailOf } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import type { BusAccess } from '../connector-placement.ts'
import type { State, Store } from '../store.ts'
import {
  type Admitted,
  type Applicant,
  admit,
  type Knowledge,
  type Refused,
  reasonAgainst,
} from './admission.ts'
import { answerCallout } from './callout.ts'
import {
  endConnection,
  type LiveConnection,
  listConnections,
  listWaiting,
  onBegun,
} from './live-connections.ts'
import { recordAccess } from './record.ts'

export interface BusAccessOptions {
  /** Where questions are answered. */
  callout: BusAddress
  /** In the system account. */
  system: Bus
  connectors: Store<Connector>
  groups: State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>
  trustDomain: string
  isRevoked: (serialNumber: string) => boolean
  audit: Audit
  log: Logger
  signal?: AbortSignal
}

/** Everything that is live is looked at so often: a registry may have been away when something changed. */
const sweepIntervalMs = 60_000

/** One that was moved is given time to finish by whoever moved it; the sweep is for what nobody ended. */
const movedGraceMs = 60_000

/** The server gives up by then. */
const answersWithinMs = 2_000

/** Whether somebody is cut off waits for that as long as it takes. */
const syncAgainMs = 100

/** How long a refusal may wait for what another registry has just written. */
const syncMs = 1_000

export async function openBusAccess(
  options: BusAccessOptions,
): Promise<BusAccess & AsyncDisposable> {
  const access = new Access(options)
  await access.start()
  return access
}

class Access implements BusAccess, AsyncDisposable {
  readonly #options: BusAccessOptions
  readonly #known: Knowledge
  readonly #record: ReturnType<typeof recordAccess>
  readonly #resources = new AsyncDisposableStack()
  readonly #delayed = new Set<NodeJS.Timeout>()

  constructor(options: BusAccessOptions) {
    this.#options = options
    const { connectors, groups, trustDomain, isRevoked } = options
    this.#known = { connectors, groups, trustDomain, isRevoked }
    this.#record = recordAccess(options)
  }

  async start(): Promise<void> {
    const { callout, system, connectors, log, signal } = this.#options
    onBegun(system, connection => this.#inBackground(this.#judge(connection)))
    this.#resources.defer(
      connectors.onChange(changes => {
        for (const { key, before, after } of changes) {
          if (before && isNarrower(before, after)) this.#inBackground(this.cutOff(key))
        }
      }),
    )
    const sweep = () => this.#inBackground(this.#sweep())
    this.#resources.defer(system.onStatus(status => status === 'connected' && sweep()))
    const timer = setInterval(sweep, sweepIntervalMs)
    this.#resources.defer(() => {
      clearInterval(timer)
      for (const one of this.#delayed) clearTimeout(one)
    })
    await system.connection.flush()
    const answering = await answerCallout({
      ...callout,
      log,
      ...(signal && { signal }),
      decide: applicant => this.#decide(applicant),
      onListening: () => this.#inBackground(endUnheard(system)),
    })
    this.#resources.use(answering)
    sweep()
  }

  async cutOff(connectorId: string, { afterMs = 0 }: { afterMs?: number } = {}): Promise<void> {
    if (afterMs > 0) {
      const timer = setTimeout(() => {
        this.#delayed.delete(timer)
        this.#inBackground(this.cutOff(connectorId))
      }, afterMs)
      this.#delayed.add(timer)
      return
    }
    for await (const connection of listConnections(this.#options.system)) {
      if (connection.connectorId === connectorId) await this.#endUnlessAllowed(connection)
    }
  }

  /** Refused only by what is known for certain: another registry may have written a moment ago. */
  async #decide(applicant: Applicant): Promise<Admitted | Refused> {
    let decision = admit(applicant, this.#known, Date.now())
    if (decision.kind === 'refused' && decision.connectorId !== undefined) {
      await this.#sync()
      decision = admit(applicant, this.#known, Date.now())
    }
    if (decision.kind === 'refused') this.#record.refused(decision, applicant.address)
    return decision
  }

  /** One that has just begun: it may have been let in by what was known before. */
  async #judge(connection: LiveConnection): Promise<void> {
    if (reasonAgainst(connection, this.#known) === undefined) return
    // A registry that stood still, or is just coming back, knows nothing of whoever was enrolled meanwhile.
    while (!(await this.#sync())) {
      if (this.#resources.disposed) return
      await sleep(syncAgainMs, undefined, { ref: false })
    }
    await this.#endUnlessAllowed(connection)
  }

  async #endUnlessAllowed(connection: LiveConnection): Promise<void> {
    const reason = reasonAgainst(connection, this.#known)
    if (reason === undefined) return
    await endConnection(this.#options.system, connection)
    this.#record.cutOff(connection.connectorId, reason)
  }

  async #sweep(): Promise<void> {
    const { system, connectors } = this.#options
    if (!system.isConnected) return
    for await (const connection of listConnections(system)) {
      const record = connectors.get(connection.connectorId)?.value
      const movedMs = record?.movedDateTime ? Date.parse(record.movedDateTime) : 0
      if (Date.now() - movedMs > movedGraceMs) await this.#judge(connection)
    }
  }

  /** False when it is not certain that everything is known. */
  async #sync(): Promise<boolean> {
    const { promise: late, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(resolve, syncMs, false)
    const { connectors, groups } = this.#options
    const synced = Promise.all([connectors.sync(), groups.sync()]).then(
      () => true,
      () => false,
    )
    return await Promise.race([synced, late]).finally(() => clearTimeout(timer))
  }

  #inBackground(work: Promise<void>): void {
    work.catch(error => {
      const reason = detailOf(error)
      this.#options.log.warn({ reason }, 'connections of connectors could not be looked at')
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#resources.disposeAsync()
  }
}

/** Until whoever was just being answered for is in. */
const answeredMs = 200

/**
 * Whoever came before anybody answered for connectors is held by the server until it gives up: such a connection is
 * ended, for a new one is answered for at once.
 */
export async function endUnheard(system: Bus): Promise<void> {
  const listeningAt = performance.now()
  await sleep(answeredMs, undefined, { ref: false })
  await system.untilConnected(answersWithinMs)
  for await (const waiting of listWaiting(system)) {
    if (waiting.sinceMs > performance.now() - listeningAt) await endConnection(system, waiting)
  }
}

/** Whether connections that were right before may be wrong now. A move is left to whoever moves. */
function isNarrower(before: Connector, after: Connector | undefined): boolean {
  if (!after) return true
  if (before.isEnabled && !after.isEnabled) return true
  const keys = new Set(after.certificates.map(({ spki }) => spki))
  return before.certificates.some(({ spki }) => !keys.has(spki))
}
