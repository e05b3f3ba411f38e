/**
 * What connectors learn from the registry: the applications of their group and the keys that verify access leases.
 * They ask when they connect and are told at every change. Several registries may do this side by side: an answer
 * carries the bucket's revision, and a connector never goes back to an older one.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  type ApplicationList,
  isPublished,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { ConnectorGroup } from '#infra/contracts/connector.ts'
import type { LeaseKey, LeaseKeySet } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import type { Snapshot } from '#infra/snapshot.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { forConnectors } from './application-rules.ts'
import type { State, Store } from './store.ts'

export interface ConnectorFeedOptions {
  bus: Bus
  applications: Store<RegisteredApplication>
  groups: State<ConnectorGroup>
  leaseKeys: Snapshot<LeaseKey>
  log: Logger
}

export function feedConnectors(options: ConnectorFeedOptions): Disposable {
  const { bus, applications, leaseKeys } = options
  using stack = new DisposableStack()
  for (const subscription of serveRequests(options)) stack.defer(() => subscription.unsubscribe())
  const push = (groups: Iterable<string>) => {
    for (const group of new Set(groups)) {
      bus.publishJson(subjects.applicationsOf(group), applicationList(applications, group))
    }
  }
  const pushKeys = () => bus.publishJson(subjects.keys, leaseKeySet(leaseKeys))
  stack.defer(
    applications.onChange(changes =>
      // An application that moved is news to the group that it left, too.
      push(changes.flatMap(({ before, after }) => groupsOf(before, after))),
    ),
  )
  stack.defer(leaseKeys.onChange(pushKeys))
  stack.defer(
    bus.onStatus(status => {
      if (status !== 'connected') return
      push(groupsOf(...applications.entries.values()))
      pushKeys()
    }),
  )
  return stack.move()
}

function serveRequests({ bus, applications, groups, leaseKeys, log }: ConnectorFeedOptions) {
  const common = { queue: queues.registry, request: z.unknown() }
  return [
    bus.serve(subjects.applicationsRequests, {
      ...common,
      handle: (_, subject) => {
        const group = subject.slice(subject.lastIndexOf('.') + 1)
        if (!groups.get(group)) log.warn({ group }, 'a connector asks for an unknown group')
        return applicationList(applications, group)
      },
    }),
    bus.serve(subjects.keysRequest, { ...common, handle: () => leaseKeySet(leaseKeys) }),
  ]
}

/** Groups whose connectors have anything to do with these applications. */
function groupsOf(...applications: (RegisteredApplication | undefined)[]): string[] {
  return applications.flatMap(application =>
    application && isPublished(application) ? application.connectorGroupId : [],
  )
}

function applicationList(store: Store<RegisteredApplication>, group: string): ApplicationList {
  const { entries, revision: version } = store
  const members = [...entries.values()]
    .filter(isPublished)
    .filter(({ connectorGroupId }) => connectorGroupId === group)
  return { version, nowMs: Date.now(), applications: members.map(forConnectors) }
}

function leaseKeySet({ entries }: Snapshot<LeaseKey>): LeaseKeySet {
  return { nowMs: Date.now(), keys: [...entries.values()] }
}
