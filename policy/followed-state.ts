/**
 * The state that decisions are made in, kept current: policies and named locations, signals. Whatever changes is told to
 * the gateways at once, with the revision that shows it, so that they have decided anew what it touches.
 */

import type { Bus } from '#infra/bus.ts'
import type { NamedLocation } from '#infra/contracts/conditional-access/named-location.ts'
import {
  type ConditionalAccessPolicy,
  PolicyEntry,
} from '#infra/contracts/conditional-access/policy.ts'
import { Signal } from '#infra/contracts/conditional-access/signals.ts'
import type { Reevaluation } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import { type Change, type Snapshot, watchBucket } from '#infra/snapshot.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import type { CompiledPolicy } from './compiled-policy.ts'
import { ConditionalAccess } from './conditional-access.ts'
import type { MultifactorContexts } from './controls/grant.ts'
import { type CountryOf, Places } from './places.ts'
import { Signals } from './signals.ts'
import type { PolicyState } from './state.ts'
import { touchedByPolicies, touchedBySignals } from './touched.ts'

export interface FollowedState extends AsyncDisposable {
  readonly current: PolicyState
  readonly signals: Snapshot<Signal>
  /** Waits until changes up to these revisions are seen; false when they are not in time. */
  reached(policiesRevision: number, signalsRevision: number, timeoutMs: number): Promise<boolean>
}

export interface FollowOptions {
  multifactor: MultifactorContexts
  countryOf: CountryOf
  /** Sessions that are known to be used on a device. */
  sessionsOn: (deviceId: string) => Iterable<string>
  log: Logger
  signal?: AbortSignal
}

/** What cannot be read is not left out: it may be what keeps somebody out. */
const Entry = PolicyEntry.catch({ kind: 'unusable' } as never)
export type FollowedEntry = PolicyEntry | { readonly kind: 'unusable' }

/** Compiled policies of former versions are dropped with them. */
type Compiled = WeakMap<ConditionalAccessPolicy, CompiledPolicy>

export async function followState(bus: Bus, options: FollowOptions): Promise<FollowedState> {
  const { log, signal, multifactor, countryOf, sessionsOn } = options
  const common = { log, ...(signal && { signal }) }
  await using stack = new AsyncDisposableStack()
  const [policies, signals] = await Promise.all([
    watchBucket(bus, { ...common, bucket: buckets.policies, schema: Entry }),
    watchBucket(bus, { ...common, bucket: buckets.signals, schema: Signal }),
  ])
  stack.use(policies)
  stack.use(signals)
  const compiled: Compiled = new WeakMap()
  const access = () => conditionalAccessOf(policies, { multifactor, compiled, log })
  let current: PolicyState = {
    multifactor,
    conditionalAccess: access(),
    places: new Places(locationsOf(policies.entries.values()), countryOf),
    signals: new Signals(signals.entries),
  }
  const tell = (reevaluation: Reevaluation) => {
    bus.publishJson(subjects.reevaluate, reevaluation)
  }
  policies.onChange(changes => {
    const places = changes.some(concernsLocation)
      ? new Places(locationsOf(policies.entries.values()), countryOf)
      : current.places
    current = { ...current, conditionalAccess: access(), places }
    const { revision } = policies
    tell({ bucket: 'policies', revision, touches: touchedByPolicies(changes) })
  })
  signals.onChange(changes => {
    current = { ...current, signals: new Signals(signals.entries) }
    const { revision } = signals
    tell({ bucket: 'signals', revision, touches: touchedBySignals(changes, sessionsOn) })
  })
  const owned = stack.move()
  return {
    get current() {
      return current
    },
    signals,
    reached: (policiesRevision, signalsRevision, timeoutMs) =>
      bothReached([policies, policiesRevision], [signals, signalsRevision], timeoutMs),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

type Awaited = readonly [Snapshot<unknown>, number]

async function bothReached(one: Awaited, other: Awaited, timeoutMs: number): Promise<boolean> {
  for (const [snapshot, revision] of [one, other]) {
    if (snapshot.revision >= revision) continue
    if (!(await snapshot.reached(revision, timeoutMs))) return false
  }
  return true
}

interface Compiling {
  multifactor: MultifactorContexts
  compiled: Compiled
  log: Logger
}

function conditionalAccessOf(
  { entries }: Snapshot<FollowedEntry>,
  { multifactor, compiled, log }: Compiling,
): ConditionalAccess {
  const unusable = [...entries].flatMap(([key, { kind }]) => (kind === 'unusable' ? [key] : []))
  if (unusable.length > 0) {
    log.error({ unusable }, 'policies that cannot be read keep everybody out')
  }
  const policies = [...entries.values()].flatMap(entry =>
    entry.kind === 'policy' ? [entry.policy] : [],
  )
  return ConditionalAccess.of(policies, multifactor, { compiled, unusable })
}

function* locationsOf(entries: Iterable<FollowedEntry>): Generator<NamedLocation> {
  for (const entry of entries) if (entry.kind === 'location') yield entry.location
}

function concernsLocation({ before, after }: Change<FollowedEntry>): boolean {
  return before?.kind === 'location' || after?.kind === 'location'
}
