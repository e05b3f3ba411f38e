/**
 * The policy service, put together: signs users in and out and answers who may use what. It keeps nothing of its own
 * but its signing key; any number of policy services may run side by side and share the work.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { jetstream } from '@nats-io/jetstream'
import type { Subscription } from '@nats-io/transport-node'
import { z } from 'zod'
import { openAudit } from '#infra/audit.ts'
import { openBucket } from '#infra/bucket.ts'
import { type Bus, connectBus } from '#infra/bus.ts'
import { busAddress } from '#infra/bus-connection.ts'
import { PublishedEntry } from '#infra/contracts/application.ts'
import { WhatIfRequest } from '#infra/contracts/conditional-access/what-if.ts'
import {
  EvaluateRequest,
  Revocation,
  SignInRequest,
  SignOutRequest,
} from '#infra/contracts/policy.ts'
import { type FaultCode, SallyportError } from '#infra/errors.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { meteredAudit, missing } from '#infra/monitoring/meters.ts'
import { monitor } from '#infra/monitoring/monitoring.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { Attention } from '#infra/standstill.ts'
import { buckets, queues, subjects } from '#infra/subjects.ts'
import { waitingSince } from '#infra/waiting.ts'
import { type AccessContext, createAccess } from './access.ts'
import { createAssertionSigner } from './assertion.ts'
import type { PolicyConfig } from './config.ts'
import { openCountries } from './countries.ts'
import { type FollowedState, type FollowOptions, followState } from './followed-state.ts'
import { createIdTokenVerifier } from './id-token.ts'
import { createLeaseSigner } from './lease.ts'
import { publishLeaseKey } from './lease-key.ts'
import { Principals } from './principals.ts'
import { Revocations } from './revoke.ts'
import { type SignInContext, signIn, signOut } from './sign-in.ts'
import { takeSignal } from './signal-intake.ts'
import { whatIf } from './what-if.ts'

const service = 'policy'

const storeTimeoutMs = 3_000

/** Longest wait for a change that registry has made a moment ago. */
const catchUpMs = 1_000

/** How long answers under way may take after a signal. */
const finishMs = 5_000

export async function startPolicy(config: PolicyConfig, signal?: AbortSignal): Promise<Service> {
  const log = createLogger(service, config.logLevel)
  const cancel = signal ? { signal } : {}
  await using stack = new AsyncDisposableStack()
  const monitoring = stack.use(await monitor(config.monitoring, { service, log }))
  const bus = stack.use(await connectBus({ ...busAddress(config), role: service, log, ...cancel }))
  const { auditSpillFile: spillFile } = config
  const spilling = spillFile !== undefined && { spillFile }
  const trail = openAudit(bus, { service, log, redacted: config.auditRedacted, ...spilling })
  const audit = stack.use(meteredAudit(monitoring, bus, trail))
  const signer = createLeaseSigner()
  const assertions = createAssertionSigner()
  const known = await openState(bus, log, stack, signal)
  const following = { log, ...cancel, sessionsOn: (id: string) => known.principals.sessionsOn(id) }
  const state = stack.use(await followPolicies(bus, config, following, stack))
  const published = publishKeys(bus, { signer, assertions }, log, signal)
  for (const key of await published) stack.use(key)
  const verifyIdToken = createIdTokenVerifier(config.identityProvider)
  stack.use(
    serve(bus, { ...config, ...known, state, verifyIdToken, signer, assertions, audit, log }),
  )
  stack.defer(() => monitoring?.stopping())
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  monitoring?.ready(() => missing(bus, audit))
  log.info({ key: signer.key.kid }, 'serving')
  const running = stack.move()
  return {
    details: { key: signer.key.kid },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

async function publishKeys(
  bus: Bus,
  { signer, assertions }: Pick<AccessContext, 'signer' | 'assertions'>,
  log: Logger,
  signal: AbortSignal | undefined,
): Promise<Disposable[]> {
  const options = { log, ...(signal && { signal }) }
  const open = (bucket: string) =>
    openBucket(bus, bucket, { ...options, timeoutMs: storeTimeoutMs })
  const [leases, others] = await Promise.all([open(buckets.leaseKeys), open(buckets.assertionKeys)])
  return Promise.all([
    publishLeaseKey(leases.kv, signer.key, options),
    ...assertions.keys.map(key => publishLeaseKey(others.kv, key, options)),
  ])
}

/** What policy knows: the applications, who is signed in, and what was revoked. */
async function openState(
  bus: Bus,
  log: Logger,
  stack: AsyncDisposableStack,
  signal: AbortSignal | undefined,
) {
  const common = { log, ...(signal && { signal }) }
  const owned = async <Resource extends AsyncDisposable>(opening: Promise<Resource>) =>
    stack.use(await opening)
  const [applications, tombstones, principals, bucket] = await Promise.all([
    owned(watchBucket(bus, { ...common, bucket: buckets.applications, schema: PublishedEntry })),
    owned(watchBucket(bus, { ...common, bucket: buckets.revocations, schema: Revocation })),
    Principals.open(bus, common),
    openBucket(bus, buckets.revocations, { ...common, timeoutMs: storeTimeoutMs }),
  ])
  const revocations = stack.use(
    new Revocations({
      bus,
      bucket: bucket.kv,
      tombstones,
      log,
      onRevoked: ({ kind, id }) => {
        if (kind === 'session') principals.forget(id)
      },
    }),
  )
  return { applications, principals, revocations }
}

type Track = <Reply>(reply: Promise<Reply>) => Promise<Reply>

/** What administrators ask, and what outside systems say. */
function serveState(bus: Bus, { state, applications }: AccessContext, tracked: Track) {
  const queue = queues.policy
  const store = jetstream(bus.connection, { timeout: storeTimeoutMs })
  const find = (id: string) =>
    applications.entries.get(id) ??
    [...applications.entries.values()].find(({ appId }) => appId.toLowerCase() === id)
  const answer = async ({ whatIf: asked, policiesRevision }: z.output<typeof WhatIfRequest>) => {
    if (await state.reached(policiesRevision, 0, catchUpMs))
      return whatIf(asked, state.current, find)
    throw new SallyportError('policy_unavailable', 'a change of policies is not seen')
  }
  return [
    bus.serve(subjects.whatIf, {
      queue,
      request: WhatIfRequest,
      handle: request => tracked(answer(request)),
    }),
    bus.serve(subjects.signals, {
      queue,
      request: z.unknown(),
      takesEvents: true,
      handle: (body, subject) => tracked(takeSignal(store, subject, body)),
    }),
  ]
}

/** Policies, signals, and the countries that policies may need. */
function followPolicies(
  bus: Bus,
  { multifactorAcrValues: acrValues, countryDatabaseFile: file }: PolicyConfig,
  following: Pick<FollowOptions, 'log' | 'signal' | 'sessionsOn'>,
  stack: AsyncDisposableStack,
): Promise<FollowedState> {
  const { of: countryOf } = stack.use(openCountries(file, following.log))
  return followState(bus, { ...following, multifactor: { acrValues }, countryOf })
}

/** Takes its share of the questions. Disposing leaves the queue group and finishes what has arrived. */
function serve(bus: Bus, context: SignInContext & AccessContext): AsyncDisposable {
  const attention = new Attention(bus)
  const waiting = (code: FaultCode) => waitingSince(attention, code)
  const underWay = new Set<Promise<unknown>>()
  const tracked = <Reply>(reply: Promise<Reply>): Promise<Reply> => {
    const settled: Promise<unknown> = reply.then(
      () => underWay.delete(settled),
      () => underWay.delete(settled),
    )
    underWay.add(settled)
    return reply
  }
  const access = createAccess(context)
  const queue = queues.policy
  const subscriptions: Subscription[] = [
    bus.serve(subjects.signIn, {
      queue,
      request: SignInRequest,
      handle: request => tracked(signIn(context, request, waiting('sign_in_unavailable'))),
    }),
    bus.serve(subjects.signOut, {
      queue,
      request: SignOutRequest,
      handle: request => tracked(signOut(context, request, waiting('sign_in_unavailable'))),
    }),
    bus.serve(subjects.evaluate, {
      queue,
      request: EvaluateRequest,
      handle: request => tracked(access(request, waiting('policy_unavailable'))),
    }),
    ...serveState(bus, context, tracked),
  ]
  return {
    async [Symbol.asyncDispose]() {
      using _ = attention
      const finished = Promise.all(subscriptions.map(subscription => subscription.drain()))
        .then(() => Promise.all(underWay))
        .catch(() => undefined)
      await Promise.race([finished, sleep(finishMs, undefined, { ref: false })])
    },
  }
}
