/**
 * What outside systems say and policies use: the risk of a user or of one sign-in, facts about everything, an
 * application, a user or a device, and the groups of a user when the directory knows better than an old ID token. Each
 * rests in the bucket `signals` with who said it and why, and for how long it holds.
 */

import { z } from 'zod'

export const FactName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'must be 1 to 63 lower-case letters, digits, _ or -')

export const FactValue = z.union([z.string().max(256), z.number(), z.boolean()], {
  error: 'must be text, a number, true or false',
})
export type FactValue = z.output<typeof FactValue>

/** What a signal can be about; `everything` has no id. */
export const signalScopes = ['everything', 'application', 'user', 'device', 'session'] as const
export type SignalScope = (typeof signalScopes)[number]

const Level = z.enum(['none', 'low', 'medium', 'high'], {
  error: 'must be none, low, medium or high',
})

const said = {
  /** Why, in words or codes of whoever says so. */
  reasons: z.array(z.string().min(1).max(256)).max(32).default([]),
  /** After so long it is forgotten; left out, it holds until something else is said. */
  expiresInSeconds: z.int().min(1).max(31_536_000).optional(),
}

/** `risk.user.<user principal name>` or `risk.session.<session id>`. */
export const RiskStatement = z.strictObject({ level: Level, ...said })

/** `fact.<scope>.<id>.<name>`; null takes a fact back. */
export const FactStatement = z.strictObject({ value: FactValue.nullable(), ...said })

/** `groups.user.<user principal name>`: all groups of the user; null leaves it to the ID token again. */
export const GroupsStatement = z.strictObject({
  groups: z.array(z.string().min(1).max(256)).max(2_000).nullable(),
  ...said,
})

const kept = {
  scope: z.enum(signalScopes),
  /** User principal names in lower case; empty for everything. */
  id: z.string().max(512),
  reasons: z.array(z.string()),
  source: z.string().max(256),
  updatedDateTime: z.iso.datetime(),
  expiresDateTime: z.iso.datetime().nullable(),
}

/** An entry of the bucket `signals`. */
export const Signal = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('risk'), level: Level, ...kept }),
  z.object({ kind: z.literal('fact'), name: FactName, value: FactValue, ...kept }),
  z.object({ kind: z.literal('groups'), groups: z.array(z.string()), ...kept }),
])
export type Signal = z.output<typeof Signal>
export type SignalKind = Signal['kind']

export interface SignalReference {
  readonly kind: SignalKind
  readonly scope: SignalScope
  readonly id: string
  /** Of a fact. */
  readonly name?: string
}

/** User principal names compare without case. */
export function signalSubject(scope: SignalScope, id: string): string {
  return scope === 'user' ? id.toLowerCase() : id
}

/** Where a signal rests in its bucket. */
export function signalKey({ kind, scope, id, name }: SignalReference): string {
  const about = signalSubject(scope, id)
  const place = `${kind}.${scope}.=${Buffer.from(about).toString('base64url')}`
  return name === undefined ? place : `${place}.${name}`
}

/** What whoever published a signal with a reply subject is told. */
export const SignalReply = z.object({ revision: z.int() })
