/**
 * The policy service, put together: signs users in and out and answers who may use what. It keeps nothing of its own
 * but its signing key; any number of policy services may run side by side and share the work.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Subscription } from '@nats-io/transport-node'
import { openAudit } from '#infra/audit.ts'
import { openBucket } from '#infra/bucket.ts'
import { type Bus, connectBus } from '#infra/bus.ts'
import { PublishedEntry } from '#infra/contracts/application.ts'
import {
  EvaluateRequest,
  Revocation,
  SignInRequest,
  SignOutRequest,
} from '#infra/contracts/policy.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { watchBucket } from '#infra/snapshot.ts'
import { buckets, queues, subjects } from '#infra/subjects.ts'
import { type AccessContext, createAccess } from './access.ts'
import type { PolicyConfig } from './config.ts'
import { createIdTokenVerifier } from './id-token.ts'
import { createLeaseSigner } from './lease.ts'
import { publishLeaseKey } from './lease-key.ts'
import { Principals } from './principals.ts'
import { Revocations } from './revoke.ts'
import { type SignInContext, signIn, signOut } from './sign-in.ts'

const service = 'policy'

const storeTimeoutMs = 3_000

/** How long answers under way may take after a signal. */
const finishMs = 5_000

export async function startPolicy(config: PolicyConfig, signal?: AbortSignal): Promise<Service> {
  const log = createLogger(service, config.logLevel)
  const cancel = signal ? { signal } : {}
  await using stack = new AsyncDisposableStack()
  const bus = stack.use(await connectBus({ url: config.busUrl, role: service, log, ...cancel }))
  const { auditSpillFile: spillFile } = config
  const audit = stack.use(
    openAudit(bus, { service, log, ...(spillFile !== undefined && { spillFile }) }),
  )
  const signer = createLeaseSigner()
  const state = await openState(bus, log, stack, signal)
  const keys = await openBucket(bus, buckets.leaseKeys, {
    log,
    ...cancel,
    timeoutMs: storeTimeoutMs,
  })
  stack.use(await publishLeaseKey(keys.kv, signer.key, { log, ...cancel }))
  const verifyIdToken = createIdTokenVerifier(config.identityProvider)
  stack.use(serve(bus, { ...config, ...state, verifyIdToken, signer, audit, log }))
  // Ready means that the server has the subscriptions, not that they are on their way.
  await bus.connection.flush()
  log.info({ key: signer.key.kid }, 'serving')
  const running = stack.move()
  return {
    details: { key: signer.key.kid },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
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

/** Takes its share of the questions. Disposing leaves the queue group and finishes what has arrived. */
function serve(bus: Bus, context: SignInContext & AccessContext): AsyncDisposable {
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
      handle: request => tracked(signIn(context, request)),
    }),
    bus.serve(subjects.signOut, {
      queue,
      request: SignOutRequest,
      handle: request => tracked(signOut(context, request)),
    }),
    bus.serve(subjects.evaluate, {
      queue,
      request: EvaluateRequest,
      handle: request => tracked(access(request)),
    }),
  ]
  return {
    async [Symbol.asyncDispose]() {
      const finished = Promise.all(subscriptions.map(subscription => subscription.drain()))
        .then(() => Promise.all(underWay))
        .catch(() => undefined)
      await Promise.race([finished, sleep(finishMs, undefined, { ref: false })])
    },
  }
}
