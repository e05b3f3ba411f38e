/**
 * What connectors learn from the registry: the applications of their group and the keys that verify access leases, both
 * signed, since connectors dial and believe what stands there. They ask when they connect and are told at every change
 * what has changed. Several registries may do this side by side: whatever they say of applications carries the bucket's
 * revision, and a connector never goes back to an older one. Nobody is waited for: a connector that is away or slow
 * asks again when it can.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  type ApplicationsReply,
  ApplicationsRequest,
  type ApplicationsStatement,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { ConnectorGroup } from '#infra/contracts/connector.ts'
import type { LeaseKey, LeaseKeySet } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import {
  Nonce,
  payloadBytesIn,
  type StatementSigner,
  type StatementType,
  signStatement,
} from '#infra/statement.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { GroupLists } from './group-lists.ts'
import type { State, Store } from './store.ts'
import { TimeBudgets } from './time-budgets.ts'

export interface ConnectorFeedOptions {
  bus: Bus
  applications: Store<RegisteredApplication>
  groups: State<ConnectorGroup>
  leaseKeys: Snapshot<LeaseKey>
  signer: StatementSigner
  log: Logger
}

/** Of applications in one message: small enough to be read between two turns of a connector's event loop. */
const messageBytes = 256 * 1024

/** Room for what surrounds applications in a message. */
const envelopeBytes = 1_024

export function feedConnectors(options: ConnectorFeedOptions): Disposable {
  const { bus, applications: store, groups, leaseKeys, signer } = options
  using stack = new DisposableStack()
  const maxBytes = Math.min(messageBytes, payloadBytesIn(bus.maxPayloadBytes) - envelopeBytes)
  const lists = new GroupLists({ store, maxBytes })
  for (const subscription of serveRequests(options, lists))
    stack.defer(() => subscription.unsubscribe())
  const push = (subject: string, type: StatementType, said: object) =>
    bus.publishJson(subject, signStatement(signer, type, said))
  const pushKeys = () => push(subjects.keys, 'leaseKeys', leaseKeySet(leaseKeys))
  const tell = (group: string, said: ApplicationsReply) => {
    const statement: ApplicationsStatement = { group, said }
    push(subjects.applicationsOf(group), 'applications', statement)
  }
  stack.defer(
    store.onChange(changes => {
      for (const [group, told] of lists.apply(changes)) tell(group, told)
    }),
  )
  stack.defer(leaseKeys.onChange(pushKeys))
  stack.defer(
    bus.onStatus(status => {
      if (status !== 'connected') return
      for (const group of groups.entries.keys()) tell(group, lists.standing(group))
      pushKeys()
    }),
  )
  return stack.move()
}

const Asked = z.object({ nonce: Nonce })

function serveRequests(
  { bus, groups, leaseKeys, signer, log }: ConnectorFeedOptions,
  lists: GroupLists,
) {
  const queue = queues.registry
  const budgets = new TimeBudgets()
  return [
    bus.serve(subjects.applicationsRequests, {
      queue,
      request: ApplicationsRequest.extend(Asked.shape),
      isIgnored: ({ subject }) => budgets.isOverdrawn(subject),
      handle: ({ since, after, nonce }, subject) => {
        const group = subject.slice(subject.lastIndexOf('.') + 1)
        return budgets.spend(subject, () => {
          if (!groups.get(group)) log.warn({ group }, 'a connector asks for an unknown group')
          const changes = since === undefined ? undefined : lists.changes(group, since)
          const said = changes ?? lists.page(group, after)
          const statement: ApplicationsStatement = { group, said }
          return signStatement(signer, 'applications', { ...statement, nonce })
        })
      },
    }),
    bus.serve(subjects.keysRequest, {
      queue,
      request: Asked,
      isIgnored: ({ subject }) => budgets.isOverdrawn(subject),
      handle: ({ nonce }, subject) =>
        budgets.spend(subject, () =>
          signStatement(signer, 'leaseKeys', { ...leaseKeySet(leaseKeys), nonce }),
        ),
    }),
  ]
}

function leaseKeySet({ entries }: Snapshot<LeaseKey>): LeaseKeySet {
  return { nowMs: Date.now(), keys: [...entries.values()] }
}
