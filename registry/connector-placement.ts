/**
 * What administrators decide of a connector: its group, whether it may connect, whether it exists. The record is
 * written first, so that whatever is asked from then on is answered by it; then the connector is told and its
 * connections are cut off. One that is moved and listens to us is left the time to finish what it has begun.
 */

import { RequestError, type Subscription } from '@nats-io/transport-node'
import type { Bus, Message } from '#infra/bus.ts'
import {
  type Connector,
  type ConnectorGroup,
  defaultConnectorGroupId,
  type Placement,
  PlacementRequest,
} from '#infra/contracts/connector.ts'
import type { Logger } from '#infra/log.ts'
import { Nonce, type StatementSigner, signStatement } from '#infra/statement.ts'
import { queues, subjects } from '#infra/subjects.ts'
import type { Changed, Precondition } from './applications.ts'
import type { Connectors } from './connectors.ts'
import { isPlaced } from './presence.ts'
import { invalid } from './refusal.ts'
import type { State, Store } from './store.ts'

/** Who can end the live connections of a connector. */
export interface BusAccess {
  /**
   * Ends the connections that this connector has now, and those that are being made with what its record said before.
   * With `afterMs`, only what is left of them after that time.
   */
  cutOff(connectorId: string, options?: { afterMs?: number }): Promise<void>
}

export interface PlacementOptions {
  bus: Bus
  log: Logger
  connectors: Connectors
  store: Store<Connector>
  groups: State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>
  /** Without one no connector is told where it belongs: none would believe it. */
  signer: StatementSigner | undefined
  /** Undefined on a bus where connectors have no identity of their own: nothing can be cut off there. */
  busAccess: BusAccess | undefined
  isEnrolmentRequired: boolean
  /** Whether a connector has asked more than any does: then it gets no answer. */
  isTooMuch?: (message: Message) => boolean
  /** Takes back the certificates of a connector that is removed. */
  revoke?: ((connector: Connector) => Promise<void>) | undefined
}

export interface ConnectorPatch {
  readonly connectorGroupId?: string | undefined
  readonly isEnabled?: boolean | undefined
}

export interface ConnectorPlacement extends Disposable {
  /** Moves, disables or enables; refuses when there is no such connector or group. */
  update(
    id: string,
    patch: ConnectorPatch,
    precondition?: Precondition,
  ): Promise<Changed<Connector>>
  /** It may not come back: whoever wants it again enrols it. */
  remove(id: string, precondition?: Precondition): Promise<Connector>
}

/** What a connector that moves has begun may take so long: more than a connector gives itself. */
const finishWithinMs = 30_000

/** A connector that is there has the news by then; it does not answer. */
const heardWithinMs = 500

/**
 * What preconditions compare: what is decided of a connector, wherever. Its record gets another revision whenever the
 * connector reports.
 */
export function decidedVersion(connector: Connector): string {
  const { connectorGroupId, isEnabled, movedDateTime, enrolledDateTime } = connector
  const standing = isEnabled ? 'enabled' : 'disabled'
  return [connectorGroupId, standing, movedDateTime, enrolledDateTime].join('/')
}

const always: Precondition = () => undefined

export function placeConnectors(options: PlacementOptions): ConnectorPlacement {
  const requests = options.signer && answerRequests(options, options.signer)
  return {
    update: (id, patch, precondition = always) => update(options, id, { patch, precondition }),
    remove: async (id, precondition = always) => {
      const removed = await options.connectors.remove(id, known =>
        precondition(decidedVersion(known)),
      )
      await options.revoke?.(removed)
      await endNow(options, id)
      return removed
    },
    [Symbol.dispose]: () => requests?.unsubscribe(),
  }
}

function answerRequests(options: PlacementOptions, signer: StatementSigner): Subscription {
  return options.bus.serve(subjects.placementRequests, {
    queue: queues.registry,
    isIgnored: options.isTooMuch,
    request: PlacementRequest.extend({ nonce: Nonce }),
    handle: async ({ nonce, ...request }, subject) => {
      const placement = await placementOf(options, request, subject)
      return signStatement(signer, 'placement', { ...placement, nonce })
    },
  })
}

/** Where a connector belongs by what is stored now: it asks when it has been moved, which may be a moment ago. */
async function placementOf(
  { store, isEnrolmentRequired }: PlacementOptions,
  { wishedGroupId = defaultConnectorGroupId }: PlacementRequest,
  subject: string,
): Promise<Placement> {
  const connectorId = subject.slice(subject.lastIndexOf('.') + 1)
  await store.sync()
  const known = store.get(connectorId)?.value
  if (!known) {
    const state = isEnrolmentRequired ? 'removed' : 'enabled'
    return { connectorId, state, connectorGroupId: wishedGroupId }
  }
  const connectorGroupId = isPlaced(known) ? known.connectorGroupId : wishedGroupId
  return { connectorId, state: known.isEnabled ? 'enabled' : 'disabled', connectorGroupId }
}

interface Update {
  patch: ConnectorPatch
  precondition: Precondition
}

async function update(
  options: PlacementOptions,
  id: string,
  { patch: { connectorGroupId, isEnabled }, precondition }: Update,
): Promise<Changed<Connector>> {
  const { connectors } = options
  const changed: string[] = []
  precondition(decidedVersion(connectors.get(id).value))
  if (connectorGroupId !== undefined) {
    const isMoved = await move(options, id, { connectorGroupId, precondition })
    if (isMoved) changed.push('connectorGroupId')
  }
  if (isEnabled !== undefined) {
    // A move has compared already, and changed what there is to compare.
    const wish = { isEnabled, precondition: connectorGroupId === undefined ? precondition : always }
    if (await turn(options, id, wish)) changed.push('isEnabled')
  }
  return { ...connectors.get(id), changed }
}

async function move(
  options: PlacementOptions,
  id: string,
  { connectorGroupId, precondition }: { connectorGroupId: string; precondition: Precondition },
): Promise<boolean> {
  const { connectors, busAccess } = options
  let before: Connector | undefined
  const isMoved = await connectors.change(id, {
    apply: () => {
      const known = connectors.get(id).value
      precondition(decidedVersion(known))
      before = known
      requireGroup(options, connectorGroupId)
      if (known.connectorGroupId === connectorGroupId && isPlaced(known)) return undefined
      return { ...known, connectorGroupId, movedDateTime: new Date().toISOString() }
    },
    outcome: 'moved',
  })
  if (!isMoved) return false
  await returnIfGone(options, id, { connectorGroupId, before })
  // Nobody who listens: whatever is connected under that identity is no connector of ours.
  const afterMs = (await announce(options, id)) ? finishWithinMs : 0
  await busAccess?.cutOff(id, { afterMs })
  return true
}

function requireGroup({ groups }: PlacementOptions, connectorGroupId: string): void {
  const group = groups.get(connectorGroupId)?.value
  if (group && !group.isClosing) return
  throw invalid('connectorGroupId', `there is no connector group "${connectorGroupId}"`)
}

/**
 * Whoever deletes a group closes it and then looks who is in it; whoever moves writes and then looks whether it is open:
 * one of the two sees the other, wherever they are.
 */
async function returnIfGone(
  options: PlacementOptions,
  id: string,
  { connectorGroupId, before }: { connectorGroupId: string; before: Connector | undefined },
): Promise<void> {
  await options.groups.sync()
  try {
    requireGroup(options, connectorGroupId)
  } catch (refusal) {
    await options.connectors.change(id, {
      apply: known => {
        if (!before || known?.connectorGroupId !== connectorGroupId) return undefined
        const { connectorGroupId: back, movedDateTime } = before
        return { ...known, connectorGroupId: back, movedDateTime }
      },
      outcome: 'moved',
    })
    throw refusal
  }
}

async function turn(
  options: PlacementOptions,
  id: string,
  { isEnabled, precondition }: { isEnabled: boolean; precondition: Precondition },
): Promise<boolean> {
  const { connectors } = options
  const isTurned = await connectors.change(id, {
    apply: () => {
      const known = connectors.get(id).value
      precondition(decidedVersion(known))
      if (known.isEnabled === isEnabled) return undefined
      return { ...known, isEnabled, ...(!isEnabled && { status: 'inactive' as const }) }
    },
    outcome: isEnabled ? 'enabled' : 'disabled',
  })
  // Also when it was disabled before: then somebody wants to be sure.
  if (isEnabled) await announce(options, id)
  else await endNow(options, id)
  return isTurned
}

async function endNow(options: PlacementOptions, id: string): Promise<void> {
  await Promise.all([announce(options, id), options.busAccess?.cutOff(id)])
}

/** Tells a connector to ask where it belongs. False when nobody listens for that. */
async function announce({ bus, log }: PlacementOptions, id: string): Promise<boolean> {
  const isUnheard = await bus.connection
    .request(subjects.placementOf(id), '', { timeout: heardWithinMs })
    .then(() => false)
    .catch(error => error instanceof RequestError && error.isNoResponders())
  log.info({ connectorId: id, isUnheard }, 'a connector was told to ask where it belongs')
  return !isUnheard
}
