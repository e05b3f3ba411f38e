/** Applications that have ended: refused also while their bucket does not show it, and granted when published anew. */

import { setTimeout as pass } from 'node:timers/promises'
import { Kvm } from '@nats-io/kv'
import { expect, test } from 'vitest'
import { readConfig } from '#infra/config.ts'
import type { Application } from '#infra/contracts/application.ts'
import { EvaluateReply, type Revocation, revocationKey } from '#infra/contracts/policy.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { PolicyConfig } from '../../policy/config.ts'
import { startPolicy } from '../../policy/policy.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats } from '../harness/nats.ts'
import { application, facts } from './applications.ts'
import { clientId, startTestProvider } from './identity-provider.ts'

const log = createLogger('test', 'silent')
const patient = { timeout: 10_000 }

/** Policy, and a gateway that asks for the passthrough application `public`. */
async function startGround() {
  await using stack = new AsyncDisposableStack()
  const provider = stack.use(await startTestProvider())
  const nats = stack.use(await startTestNats())
  const registry = await nats.connect('registry')
  const storage = { replicas: 1, auditMaxBytes: 2 ** 24, auditMaxAgeMs: 3_600_000, log }
  await prepareStorage(registry, storage)
  const applications = await new Kvm(registry.connection).open(buckets.applications)
  const tombstones = await new Kvm(registry.connection).open(buckets.revocations)
  const gateway = await nats.connect('gateway')
  const config = readConfig(PolicyConfig, {
    SALLYPORT_BUS_URL: nats.server.urlFor('policy'),
    SALLYPORT_LOG_LEVEL: 'silent',
    SALLYPORT_POLICY_IDENTITY_PROVIDER: provider.issuer,
    SALLYPORT_POLICY_CLIENT_ID: clientId,
    SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: 'true',
  })
  stack.use(await startPolicy(config))
  const owned = stack.move()
  return {
    publish: (value: Application) => applications.put(value.id, JSON.stringify(value)),
    put: (value: unknown) => applications.put('public', JSON.stringify(value)),
    /** As a policy service meets it that was not listening. */
    keep: (revocation: Revocation) =>
      tombstones.put(revocationKey('application', 'public'), JSON.stringify(revocation)),
    tell: (revocation: Revocation) =>
      registry.publishJson(subjects.revoke('application', 'public'), revocation),
    outcome: async (applicationsRevision: number, revocationsRevision = 0) => {
      const request = {
        sessionId: null,
        applicationId: 'public',
        requestId: 'request-1',
        facts,
        applicationsRevision,
        revocationsRevision,
        fingerprint: 'f1',
      }
      const { decision } = await gateway.call(subjects.evaluate, request, {
        reply: EvaluateReply,
        timeoutMs: 5_000,
        unavailable: 'policy_unavailable',
      })
      return decision.outcome === 'grant' ? 'grant' : decision.reasons[0]
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const published = application('public', { externalAuthenticationType: 'passthru' })

const revocation = (revision: number, atMs = Date.now()): Revocation => ({
  kind: 'application',
  id: 'public',
  atMs,
  reason: 'application-deleted',
  revision,
})

test.each(['keep', 'tell'] as const)(
  'an application that has ended is refused before its bucket shows it (%s), and granted when it is published anew',
  async how => {
    await using ground = await startGround()
    const first = await ground.publish(published)
    expect(await ground.outcome(first)).toBe('grant')
    await ground[how](revocation(first + 1))
    await expect.poll(() => ground.outcome(first), patient).toBe('application-unknown')
    await ground.put({ ...published, onPremisesPublishing: null })
    const again = await ground.publish(published)
    expect(await ground.outcome(again)).toBe('grant')
  },
)

test('an application that was created after the tombstone is not touched by it, whatever the revisions of a new bucket', async () => {
  await using ground = await startGround()
  const atMs = Date.now()
  const first = await ground.publish(published)
  await ground.keep(revocation(1_000_000, atMs))
  await expect.poll(() => ground.outcome(first), patient).toBe('application-unknown')
  const createdDateTime = new Date(atMs + 1).toISOString()
  const later = await ground.publish({ ...published, createdDateTime })
  expect(await ground.outcome(later)).toBe('grant')
})

test('what is said again of an earlier revocation does not take the place of a later one', async () => {
  await using ground = await startGround()
  const first = await ground.publish(published)
  const atMs = Date.now()
  ground.tell(revocation(first + 1, atMs))
  ground.tell(revocation(first, atMs - 1))
  await expect.poll(() => ground.outcome(first), patient).toBe('application-unknown')
})

test('an application that is not published is unknown', async () => {
  await using ground = await startGround()
  const revision = await ground.put({ ...published, onPremisesPublishing: null })
  expect(await ground.outcome(revision)).toBe('application-unknown')
})

test('whoever knows of a tombstone is not answered from before it', async () => {
  await using ground = await startGround()
  const first = await ground.publish(published)
  expect(await ground.outcome(first)).toBe('grant')
  // The first message of its bucket, which comes when the question waits already.
  const asking = ground.outcome(first, 1)
  await pass(100)
  await ground.keep(revocation(first + 1))
  expect(await asking).toBe('application-unknown')
  await expect(ground.outcome(first, 2)).rejects.toThrow('Access could not be decided')
})
