/**
 * Audit events: one schema per category, published on `sallyport.audit.<category>.<app or ->.<outcome>` and kept in
 * the stream AUDIT. A message holds one event or several of its subject, a line of JSON each (NDJSON). Every event
 * carries `id` (for deduplication) and `time`. Nothing secret is ever in one: no cookie, token, query string or body.
 */

import { z } from 'zod'
import type { AuditCategory } from '../subjects.ts'
import { Explanation } from './conditional-access/explanation.ts'
import { Decision } from './policy.ts'

const common = {
  id: z.string(),
  time: z.iso.datetime(),
  /** Service and instance that wrote it, as `gateway/ab12cd34`. */
  source: z.string(),
  /** Joins the events of one request over gateway, policy and connector. */
  requestId: z.string().nullable(),
  outcome: z.string(),
  user: z.string().nullable(),
  session: z.string().nullable(),
  application: z.string().nullable(),
}

/** One per exchange that a gateway took, also denied, failed and aborted ones. */
export const AccessEvent = z.object({
  ...common,
  category: z.literal('access'),
  /** `granted` and then answered by the application, or how it ended otherwise. */
  outcome: z.enum(['granted', 'denied', 'challenged', 'failed', 'aborted']),
  clientAddress: z.string(),
  method: z.string(),
  host: z.string(),
  /** Without the query: it may hold secrets. */
  path: z.string(),
  status: z.number().int().nullable(),
  connectorGroup: z.string().nullable(),
  connector: z.string().nullable(),
  /** Connectors that were asked, the last one included. */
  attempts: z.number().int(),
  decision: Decision.nullable(),
  /** True when it went on by a lease that had ended, because no policy service answered. */
  lastLease: z.boolean().optional(),
  /** Fault code when Sallyport itself answered or broke off. */
  fault: z.string().nullable(),
  faultDetail: z.string().nullable(),
  requestBytes: z.number().int(),
  responseBytes: z.number().int(),
  /** Milliseconds from the request head to: decision, response head, end. */
  decidedMs: z.number().nullable(),
  respondedMs: z.number().nullable(),
  durationMs: z.number(),
})
export type AccessEvent = z.output<typeof AccessEvent>

export const SignInEvent = z.object({
  ...common,
  category: z.literal('sign-in'),
  outcome: z.enum(['succeeded', 'failed', 'signed-out']),
  clientAddress: z.string().nullable(),
  reasons: z.array(z.string()),
  amr: z.array(z.string()),
})
export type SignInEvent = z.output<typeof SignInEvent>

export const PolicyEvent = z.object({
  ...common,
  category: z.literal('policy'),
  outcome: z.enum(['grant', 'challenge', 'block', 'revoked']),
  clientAddress: z.string().nullable(),
  decision: Decision.nullable(),
  durationMs: z.number().nullable(),
  timings: z.object({ lookUpMs: z.number(), evaluateMs: z.number() }).optional(),
  ...Explanation.shape,
})
export type PolicyEvent = z.output<typeof PolicyEvent>

export const ConnectorEvent = z.object({
  ...common,
  category: z.literal('connector'),
  /** `lost`: the bus says that it is gone; `inactive`: nothing was heard of it for too long. */
  outcome: z.enum([
    'enrolled',
    'renewed',
    'refused',
    'started',
    'draining',
    'stopped',
    'lost',
    'inactive',
    'active',
    'moved',
    'disabled',
    'enabled',
    'removed',
    'cut_off',
  ]),
  connector: z.string(),
  connectorGroup: z.string(),
  machineName: z.string(),
  version: z.string(),
  /** Of `refused` and `cut_off`: why. */
  reason: z.string().nullish(),
  /** Where it came from, when it is not on the bus. */
  clientAddress: z.string().nullish(),
})
export type ConnectorEvent = z.output<typeof ConnectorEvent>

export const AdminEvent = z.object({
  ...common,
  category: z.literal('admin'),
  outcome: z.enum(['created', 'updated', 'deleted', 'refused']),
  /** Who did it: the name of the administrator's token. */
  actor: z.string(),
  /** `applications/wiki`, `connectorGroups/paris`. */
  resource: z.string(),
  /** Names of the properties that changed. */
  changed: z.array(z.string()),
  revision: z.number().int().nullable(),
})
export type AdminEvent = z.output<typeof AdminEvent>

export const AuditEvent = z.discriminatedUnion('category', [
  AccessEvent,
  SignInEvent,
  PolicyEvent,
  ConnectorEvent,
  AdminEvent,
])
export type AuditEvent = z.output<typeof AuditEvent>

/** How events of each category end: the last word of their subject. */
export const verdicts: Readonly<Record<AuditCategory, readonly string[]>> = {
  access: AccessEvent.shape.outcome.options,
  'sign-in': SignInEvent.shape.outcome.options,
  policy: PolicyEvent.shape.outcome.options,
  connector: ConnectorEvent.shape.outcome.options,
  admin: AdminEvent.shape.outcome.options,
}

/** The events of one message of the trail, not parsed yet. */
export function eventsOf(data: Uint8Array): string[] {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString().split('\n')
}

/** Fields that an installation may leave out, where its law or its works council wants that. */
export const redactedFields = ['user', 'clientAddress', 'path', 'host'] as const
export type RedactedField = (typeof redactedFields)[number]
