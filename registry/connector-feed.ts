/**
 * What connectors learn from the registry: the applications of their group and the keys that verify access leases.
 * They ask when they connect and are told at every change what has changed. Several registries may do this side by
 * side: whatever they say of applications carries the bucket's revision, and a connector never goes back to an older
 * one. Nobody is waited for: a connector that is away or slow asks again when it can.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  type ApplicationsReply,
  ApplicationsRequest,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { ConnectorGroup } from '#infra/contracts/connector.ts'
import type { LeaseKey, LeaseKeySet } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { GroupLists } from './group-lists.ts'
import type { State, Store } from './store.ts'

export interface ConnectorFeedOptions {
  bus: Bus
  applications: Store<RegisteredApplication>
  groups: State<ConnectorGroup>
  leaseKeys: Snapshot<LeaseKey>
  log: Logger
}

/** Of applications in one message: small enough to be read between two turns of a connector's event loop. */
const messageBytes = 256 * 1024

/** Room for what surrounds applications in a message. */
const envelopeBytes = 1_024

export function feedConnectors(options: ConnectorFeedOptions): Disposable {
  const { bus, applications: store, groups, leaseKeys } = options
  using stack = new DisposableStack()
  const maxBytes = Math.min(messageBytes, bus.maxPayloadBytes - envelopeBytes)
  const lists = new GroupLists({ store, maxBytes })
  for (const subscription of serveRequests(options, lists))
    stack.defer(() => subscription.unsubscribe())
  const pushKeys = () => bus.publishJson(subjects.keys, leaseKeySet(leaseKeys))
  stack.defer(
    store.onChange(changes => {
      for (const [group, told] of lists.apply(changes)) {
        bus.publishJson(subjects.applicationsOf(group), told)
      }
    }),
  )
  stack.defer(leaseKeys.onChange(pushKeys))
  stack.defer(
    bus.onStatus(status => {
      if (status !== 'connected') return
      for (const group of groups.entries.keys()) {
        bus.publishJson(subjects.applicationsOf(group), lists.standing(group))
      }
      pushKeys()
    }),
  )
  return stack.move()
}

function serveRequests({ bus, groups, leaseKeys, log }: ConnectorFeedOptions, lists: GroupLists) {
  const queue = queues.registry
  return [
    bus.serve(subjects.applicationsRequests, {
      queue,
      request: ApplicationsRequest,
      handle: ({ since, after }, subject): ApplicationsReply => {
        const group = subject.slice(subject.lastIndexOf('.') + 1)
        if (!groups.get(group)) log.warn({ group }, 'a connector asks for an unknown group')
        const changes = since === undefined ? undefined : lists.changes(group, since)
        return changes ?? lists.page(group, after)
      },
    }),
    bus.serve(subjects.keysRequest, {
      queue,
      request: z.unknown(),
      handle: () => leaseKeySet(leaseKeys),
    }),
  ]
}

function leaseKeySet({ entries }: Snapshot<LeaseKey>): LeaseKeySet {
  return { nowMs: Date.now(), keys: [...entries.values()] }
}
