/**
 * A connector in its group: everything that belongs to one connection of the bus and one group. It learns the group's
 * applications and the lease keys from registry, joins the group's queue, answers, and reports. When the connector is
 * moved it joins the other group with a second membership before it leaves this one, which finishes what it has begun.
 */

import type { X509Certificate } from 'node:crypto'
import { PermissionViolationError } from '@nats-io/transport-node'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import type { ConnectorStatus } from '#infra/contracts/connector.ts'
import { Revocation } from '#infra/contracts/policy.ts'
import { parseJson } from '#infra/json.ts'
import { createLeaseVerifier, type LeaseVerifier } from '#infra/lease.ts'
import type { Logger } from '#infra/log.ts'
import { StreamBudget } from '#infra/stream-budget.ts'
import { subjects } from '#infra/subjects.ts'
import { version } from '#infra/version.ts'
import type { Worker } from '#infra/worker.ts'
import type { Carried } from './carried.ts'
import { type Clock, createClock } from './clock.ts'
import type { ConnectorConfig } from './config.ts'
import { followDiagnoses } from './diagnosis.ts'
import { createDialer, type Dialer } from './dial.ts'
import type { DirectDialer } from './direct-dialer.ts'
import { type Directory, openDirectory } from './directory.ts'
import { LastLeases } from './last-leases.ts'
import { openOrigins } from './origins.ts'
import { type Readiness, watchReadiness } from './readiness.ts'
import { type Serving, serve } from './serve.ts'
import type { SignOn } from './sign-on/sign-on.ts'
import { withSignOn } from './sign-on/signed-origins.ts'
import { Statements } from './statements.ts'
import { reportStatus, type StatusReports } from './status.ts'
import { originOf } from './translate.ts'
import type { SiteVeto } from './veto/site-veto.ts'

/** What is the same in every group. */
export interface Member {
  readonly config: ConnectorConfig
  /** What this connector, or this worker of it, is called on the bus. */
  readonly memberId: string
  readonly place: Worker['place'] | undefined
  readonly startedDateTime: string
  readonly carried: Carried
  /** The authority's: what others sign does not count. */
  readonly root: X509Certificate
  /** Undefined when the owner of the site has no file. */
  readonly veto: SiteVeto | undefined
  readonly signOn: SignOn
  /** Undefined where everything goes over the bus. */
  readonly direct?: DirectDialer | undefined
  readonly log: Logger
}

export interface JoinOptions {
  /** Becomes the membership's own, and ends with it. */
  bus: Bus
  groupId: string
  signal: AbortSignal
  /** The bus does not let it be a member of this group: the connection has the rights of another one. */
  onRefused: () => void
}

export interface Membership extends AsyncDisposable {
  readonly bus: Bus
  readonly groupId: string
  /** The connection has not, or no longer, the rights of this group. */
  readonly isRefused: boolean
  readonly openExchanges: number
  /** Leaves the queue and finishes what is under way; only who leaves for good says so. */
  leave(how: Leaving): Promise<void>
  /** Ends what is under way. */
  cut(): Promise<void>
}

export interface Leaving {
  readonly isForGood: boolean
  readonly graceMs: number
}

/** Resolves when the group's exchanges come in. */
export async function joinGroup(member: Member, options: JoinOptions): Promise<Membership> {
  const { bus, groupId } = options
  const { log } = member
  await using stack = new AsyncDisposableStack()
  stack.use(bus)
  const refused = new AbortController()
  followRefusals(options, refused)
  const signal = AbortSignal.any([options.signal, refused.signal])
  const parts = openParts(member, options, stack)
  const { clock, statements, reports } = parts
  parts.directory = stack.use(
    await openDirectory({
      bus,
      log,
      groupId,
      statements,
      clock,
      signal,
      onApplications: () => {
        log.debug('applications changed')
        forgetOrigins(parts)
      },
      onKeys: keys => parts.leases.setKeys(keys),
    }),
  )
  const serving = stack.use(startServing(member, options, parts, stack))
  parts.serving = serving
  reports.turn()
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  log.info({ group: groupId, server: bus.connection.getServer() }, 'serving')
  const joined = stack.move()
  return {
    bus,
    groupId,
    get openExchanges() {
      return serving.openExchanges
    },
    get isRefused() {
      return refused.signal.aborted
    },
    leave: how => leave(reports, serving, how),
    cut: async () => await serving[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => joined.disposeAsync(),
  }
}

interface Parts {
  readonly statements: Statements
  readonly leases: LeaseVerifier
  readonly lastLeases: LastLeases
  readonly clock: Clock
  readonly dialer: Dialer
  readonly readiness: Readiness
  readonly reports: StatusReports
  readonly maxExchanges: number
  readonly maxAwaited: number
  readonly applications: () => ReadonlyMap<string, Application>
  directory: Directory | undefined
  serving: Serving | undefined
}

/** What reports from the beginning, also while the applications are still being read. */
function openParts(member: Member, options: JoinOptions, stack: AsyncDisposableStack): Parts {
  const { config, place, startedDateTime, carried, root, log } = member
  const { bus, groupId } = options
  const refresh = () => parts.directory?.refresh()
  const statements = new Statements({ bus, root, log })
  const dialer = createDialer({ refusesLoopback: !config.allowsLoopback })
  const readiness = stack.use(watchReadiness({ log, dialer, onChange: () => reports.turn() }))
  const maxExchanges = shareOf(config.maxExchanges, place)
  const maxAwaited = shareOf(config.maxAwaited, place)
  const applications = () => parts.directory?.applications ?? new Map()
  const reports = stack.use(
    reportStatus({
      bus,
      connectorId: config.connectorId,
      place,
      startedDateTime,
      groupId,
      maxExchanges,
      version,
      readiness,
      dialer,
      problems: () => [
        ...[statements.problem, member.veto?.problem],
        ...member.signOn.problems.list(),
      ],
      carried,
      applications,
      serving: () => parts.serving,
    }),
  )
  followRevocations(bus, () => parts, log)
  const knownSince = (application: Application) => parts.directory?.knownSince(application)
  const parts: Parts = {
    statements,
    leases: createLeaseVerifier({ groupId, onUnknownKey: refresh }),
    lastLeases: stack.use(new LastLeases({ bus, log, knownSince })),
    clock: createClock(refresh),
    dialer,
    readiness,
    reports,
    maxExchanges,
    maxAwaited,
    applications,
    directory: undefined,
    serving: undefined,
  }
  return parts
}

function startServing(
  { config, memberId, carried, veto, signOn, direct, log }: Member,
  { bus, groupId }: JoinOptions,
  { maxExchanges, maxAwaited, clock, dialer, readiness, applications, leases, lastLeases }: Parts,
  stack: AsyncDisposableStack,
): Serving {
  const plain = openOrigins(maxExchanges, dialer)
  const origins = stack.use(withSignOn(plain, signOn))
  const { connectorId } = config
  const looking = { connectorId, memberId, groupId, applications, dialer, signOn, veto }
  stack.use(followDiagnoses({ bus, log, origins: plain, ...looking }))
  return serve({
    bus,
    log,
    memberId,
    groupId,
    maxExchanges,
    maxAwaited,
    clock,
    origins,
    budget: new StreamBudget({ memoryBytes: config.streamMemoryBytes }),
    readiness,
    carried,
    applications,
    leases,
    lastLeases,
    direct,
    veto,
  })
}

/** Of origins that are down, only those are looked for that an application still leads to. */
function forgetOrigins({ readiness, applications }: Parts): void {
  if (readiness.down().size === 0) return
  readiness.keepOnly(new Set([...applications().values()].map(originOf)))
}

/** This worker's part of what the connector takes; together they take all of it. */
function shareOf(all: number, place: Worker['place'] | undefined): number {
  if (!place) return all
  const { slot, count } = place
  return Math.floor(all / count) + (slot <= all % count ? 1 : 0)
}

async function leave(
  reports: StatusReports,
  serving: Serving,
  { isForGood, graceMs }: Leaving,
): Promise<void> {
  const say = (state: ConnectorStatus['state']) => isForGood && reports.turn(state)
  // Whoever goes on elsewhere is not seen here any more.
  if (!isForGood) reports[Symbol.dispose]()
  say('draining')
  await serving.drain(graceMs)
  say('stopped')
}

/** The library closes a subscription that the bus refuses, and does not ask for it again. */
function followRefusals({ bus, groupId, onRefused }: JoinOptions, refused: AbortController): void {
  const ofGroup = [
    subjects.exchangesOf(groupId),
    subjects.applicationsOf(groupId),
    subjects.applicationsRequest(groupId),
  ]
  const follow = async () => {
    for await (const status of bus.connection.status()) {
      if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue
      if (!ofGroup.includes(status.error.subject) || refused.signal.aborted) continue
      refused.abort(new Error(`the bus refuses ${status.error.subject}`))
      onRefused()
    }
  }
  void follow()
}

/** A revocation ends the open exchanges that it names at once, and no lease of before lasts longer than its time. */
function followRevocations(
  bus: Bus,
  parts: () => Pick<Parts, 'serving' | 'lastLeases'>,
  log: Logger,
): void {
  bus.subscribe(subjects.revocations, {
    callback: message => {
      const { kind, id } = parseJson(Revocation, message.data, 'revocation')
      log.info({ kind, id }, 'revoked')
      const { serving, lastLeases } = parts()
      lastLeases.heard({ kind, id })
      serving?.cancel(claims => {
        if (kind === 'session') return claims.session === id
        if (kind === 'user') return claims.sub.toLowerCase() === id.toLowerCase()
        return kind === 'application' && claims.app === id
      }, 'session_revoked')
    },
  })
}
