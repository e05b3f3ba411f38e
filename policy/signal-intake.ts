/**
 * Takes in what outside systems say on `signal.>`: checks it, and puts it into the bucket, where every policy service
 * sees it. The subject says what it is about; who may publish on which subject is the bus's business. Whoever wants to
 * know that it was kept sends it as a request.
 */

import type { JetStreamClient } from '@nats-io/jetstream'
import { headers } from '@nats-io/transport-node'
import { z } from 'zod'
import {
  FactName,
  FactStatement,
  GroupsStatement,
  RiskStatement,
  type Signal,
  type SignalReference,
  type SignalScope,
  signalKey,
  signalScopes,
  signalSubject,
} from '#infra/contracts/conditional-access/signals.ts'
import { SallyportError } from '#infra/errors.ts'
import { bucketEntry, buckets, fromToken, subjects } from '#infra/subjects.ts'

const prefix = subjects.signals.slice(0, -1)

/** What a kind of signal can be about. */
const scopesOf: Readonly<Record<Signal['kind'], readonly SignalScope[]>> = {
  risk: ['user', 'session'],
  groups: ['user'],
  fact: ['everything', 'application', 'user', 'device'],
}

/** Puts a signal into the bucket, or takes it back. @throws SallyportError `bad_request` */
export async function takeSignal(
  store: JetStreamClient,
  subject: string,
  body: unknown,
  nowMs = Date.now(),
): Promise<{ revision: number }> {
  const reference = referenceOf(subject)
  const signal = signalOf(reference, body, nowMs)
  const entry = bucketEntry(buckets.signals, signalKey(reference))
  const answer = signal
    ? await store.publish(entry, JSON.stringify(signal), lifetimeOf(signal, nowMs))
    : await store.publish(entry, '', { headers: deletion() })
  return { revision: answer.seq }
}

/** A delete is a message that says so, as the key-value clients write it. */
function deletion() {
  const fields = headers()
  fields.set('KV-Operation', 'DEL')
  return fields
}

/** @throws SallyportError `bad_request` for a subject that is none of ours. */
export function referenceOf(subject: string): SignalReference {
  const [kind = '', scope = '', id = '', name, ...rest] = subject.slice(prefix.length).split('.')
  const isKnown = Object.hasOwn(scopesOf, kind) && signalScopes.some(known => known === scope)
  const about = fromToken(id)
  if (!subject.startsWith(prefix) || !isKnown || about === undefined || rest.length > 0) {
    throw refused(subject)
  }
  const reference = { kind: kind as Signal['kind'], scope: scope as SignalScope, id: about }
  const isAbout = scopesOf[reference.kind].includes(reference.scope)
  const isNamed = (reference.scope === 'everything') === (about === '')
  if (!isAbout || !isNamed || about.length > 512) throw refused(subject)
  if ((kind === 'fact') !== (name !== undefined)) throw refused(subject)
  if (name === undefined) return reference
  if (!FactName.safeParse(name).success) throw refused(subject)
  return { ...reference, name }
}

function refused(subject: string): SallyportError {
  return new SallyportError('bad_request', `${subject} is no subject for a signal`)
}

function signalOf(
  { kind, scope, id, name = '' }: SignalReference,
  body: unknown,
  nowMs: number,
): Signal | undefined {
  const common = (statement: { reasons: string[]; expiresInSeconds?: number | undefined }) => ({
    scope,
    id: signalSubject(scope, id),
    reasons: statement.reasons,
    source: 'bus',
    updatedDateTime: new Date(nowMs).toISOString(),
    expiresDateTime: expiry(statement.expiresInSeconds, nowMs),
  })
  switch (kind) {
    case 'risk': {
      const statement = parse(RiskStatement, body)
      return { kind, level: statement.level, ...common(statement) }
    }
    case 'fact': {
      const statement = parse(FactStatement, body)
      if (statement.value === null) return undefined
      return { kind, name, value: statement.value, ...common(statement) }
    }
    case 'groups': {
      const statement = parse(GroupsStatement, body)
      if (statement.groups === null) return undefined
      return { kind, groups: statement.groups, ...common(statement) }
    }
  }
}

function parse<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  const result = schema.safeParse(body)
  if (result.success) return result.data
  throw new SallyportError('bad_request', z.prettifyError(result.error))
}

function expiry(seconds: number | undefined, nowMs: number): string | null {
  return seconds === undefined ? null : new Date(nowMs + seconds * 1_000).toISOString()
}

/** The store forgets an entry by itself when it has expired, and watchers hear of it. */
function lifetimeOf({ expiresDateTime }: Signal, nowMs: number): { ttl?: string } {
  if (expiresDateTime === null) return {}
  const seconds = Math.max(1, Math.ceil((Date.parse(expiresDateTime) - nowMs) / 1_000))
  return { ttl: `${seconds}s` }
}
