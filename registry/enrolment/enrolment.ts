/**
 * Enrolment, put together: makes tokens for administrators, answers connectors that come through the gateway and on the
 * bus, and takes certificates back. Any number of registries answer side by side: all that counts is in buckets.
 */

import { z } from 'zod'
import type { Audit } from '#infra/audit.ts'
import type { Authority } from '#infra/authority.ts'
import type { Bus, Message } from '#infra/bus.ts'
import type { Connector, ConnectorGroup } from '#infra/contracts/connector.ts'
import {
  consentMs,
  EnrolmentToken,
  EnrolRequest,
  fromAddress,
  RenewalConsent,
  RenewRequest,
  SignedRequest,
} from '#infra/contracts/enrolment.ts'
import type { Logger } from '#infra/log.ts'
import { Attention } from '#infra/standstill.ts'
import { buckets, queues, subjects } from '#infra/subjects.ts'
import { waitingSince } from '#infra/waiting.ts'
import { openRevokedCertificates } from '../authority/revoked-certificates.ts'
import type { Connectors } from '../connectors.ts'
import { openExpiringEntries } from '../expiring-entries.ts'
import { invalid, Refusal } from '../refusal.ts'
import type { State, Store } from '../store.ts'
import type { EnrolmentContext, EnrolmentSettings } from './context.ts'
import { enrol } from './enrol.ts'
import { readmit, renew, standing } from './renew.ts'
import { RenewalLimit } from './renewal-limit.ts'
import { type MadeToken, makeToken, type NewToken } from './tokens.ts'

export interface EnrolmentOptions extends EnrolmentSettings {
  bus: Bus
  authority: Authority
  audit: Audit
  log: Logger
  signal?: AbortSignal
  connectors: Pick<Connectors, 'change' | 'remove'>
  records: Store<Connector>
  groups: State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>
  /** Whether a connector has asked more than any does: then it gets no answer. */
  isTooMuch?: (message: Message) => boolean
}

export interface Enrolment extends AsyncDisposable {
  makeToken(token: NewToken): Promise<MadeToken>
  /**
   * Lets a connector renew a certificate that has expired, once, within a day. One that the registry has forgotten
   * needs a group to come back to.
   */
  allowRenewal(connectorId: string, connectorGroupId?: string): Promise<RenewalConsent>
  /** Takes the certificates of a connector back: also an administrator's consent brings it no new one then. */
  revoke(connector: Pick<Connector, 'id' | 'certificates'>): Promise<void>
  isRevoked(serialNumber: string): boolean
}

export async function openEnrolment(options: EnrolmentOptions): Promise<Enrolment> {
  const { bus, log, signal, authority } = options
  const watching = { log, ...(signal && { signal }) }
  await using stack = new AsyncDisposableStack()
  const revoked = stack.use(await openRevokedCertificates(bus, { authority, ...watching }))
  const context: Context = {
    ...options,
    revoked,
    renewals: new RenewalLimit(),
    tokens: await openExpiringEntries(bus, {
      bucket: buckets.enrolmentTokens,
      schema: EnrolmentToken,
      ...watching,
    }),
    consents: await openExpiringEntries(bus, {
      bucket: buckets.enrolmentConsents,
      schema: RenewalConsent,
      ...watching,
    }),
  }
  const attention = stack.use(new Attention(bus))
  for (const subscription of serve(options, context, attention))
    stack.defer(() => subscription.unsubscribe())
  const running = stack.move()
  return {
    makeToken: token => makeToken(context, token),
    allowRenewal: (id, group) => allowRenewal(context, id, group),
    revoke: connector => revoked.revoke(connector),
    isRevoked: serialNumber => revoked.isRevoked(serialNumber),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

type Context = Omit<EnrolmentContext, 'waiting'>

/** What is old was asked of another registry as well: nobody shall be enrolled or renewed twice over. */
function serve({ bus, isTooMuch }: EnrolmentOptions, context: Context, attention: Attention) {
  const queue = queues.registry
  const asked = (): EnrolmentContext => {
    const waiting = waitingSince(attention, 'enrolment_unavailable')
    waiting.check()
    return { ...context, waiting }
  }
  return [
    bus.serve(subjects.enrolRequest, {
      queue,
      request: EnrolRequest.extend(fromAddress),
      handle: request => enrol(asked(), request),
    }),
    bus.serve(subjects.standingRequest, {
      queue,
      request: SignedRequest.extend(fromAddress),
      handle: request => standing(asked(), request),
    }),
    bus.serve(subjects.readmitRequest, {
      queue,
      request: SignedRequest.extend(fromAddress),
      handle: request => readmit(asked(), request),
    }),
    bus.serve(subjects.renewRequests, {
      queue,
      isIgnored: isTooMuch,
      request: RenewRequest,
      handle: (request, subject) => renew(asked(), request, subject),
    }),
    bus.serve(subjects.revocationListRequest, {
      queue,
      request: z.unknown(),
      handle: async () => ({ list: (await context.revoked.list()).toString('base64') }),
    }),
  ]
}

async function allowRenewal(
  { consents, records, groups, revoked }: Context,
  connectorId: string,
  wishedGroupId: string | undefined,
): Promise<RenewalConsent> {
  await records.sync()
  const known = records.get(connectorId)?.value
  if (!known && revoked.isOfRemoved(connectorId)) {
    const fix = 'its certificates are revoked: enrol it anew, with a new token'
    throw new Refusal('resource_not_found', `connector "${connectorId}" was removed, and ${fix}`)
  }
  const connectorGroupId = known?.connectorGroupId ?? wishedGroupId
  if (connectorGroupId === undefined)
    throw invalid('connectorGroupId', `is required: connector "${connectorId}" is forgotten`)
  if (!groups.get(connectorGroupId))
    throw invalid('connectorGroupId', `there is no connector group "${connectorGroupId}"`)
  const consent = { connectorId, connectorGroupId, createdDateTime: new Date().toISOString() }
  await consents.write(connectorId, consent, { lifetimeMs: consentMs })
  return consent
}
