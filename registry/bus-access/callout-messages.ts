/**
 * What nats-server asks and is answered (auth callout, NATS ADR-26): tokens signed with NATS keys, which Node verifies
 * and makes by itself. The client's certificate counts only as the server has verified it: `verified_chains`, never
 * `certs`, which it also fills with what it has not checked.
 */

import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { isSignedBy, type Signer } from '#infra/nkey.ts'
import type { Permissions } from '#infra/permissions.ts'

const Question = z.object({
  /** The server. */
  iss: z.string(),
  /** Seconds; afterwards nobody waits for the answer. */
  exp: z.number().optional(),
  nats: z.object({
    server_id: z.object({ id: z.string() }),
    /** The key under which the server knows the user for this one connection. */
    user_nkey: z.string(),
    client_info: z.object({
      host: z.string().default(''),
      kind: z.string().default(''),
      type: z.string().default(''),
    }),
    connect_opts: z.object({ name: z.string().default('') }),
    client_tls: z.object({ verified_chains: z.array(z.array(z.string())).optional() }).optional(),
  }),
})
export type Question = z.output<typeof Question>

/** @throws Error unless a server has signed it. */
export function readQuestion(token: string): Question {
  const [header, payload, signature, ...more] = token.split('.')
  if (!header || !payload || !signature || more.length > 0) throw new Error('not a token')
  const question = Question.parse(JSON.parse(Buffer.from(payload, 'base64url').toString()))
  const signed = Buffer.from(`${header}.${payload}`)
  // Servers' keys begin with N; who may ask at all is decided by the account, in which only servers and we are.
  if (!question.iss.startsWith('N')) throw new Error('not asked by a server')
  if (!isSignedBy(question.iss, signed, Buffer.from(signature, 'base64url')))
    throw new Error('a wrong signature')
  return question
}

export interface BusUser {
  /** Stands in the server's events and lists. */
  name: string
  account: string
  permissions: Permissions
  expiresAtMs: number
}

/** Lets the client in. */
export function admitting(question: Question, user: BusUser, issuer: Signer): string {
  const { name, account, permissions, expiresAtMs } = user
  const jwt = signed(issuer, {
    name,
    sub: question.nats.user_nkey,
    aud: account,
    exp: Math.floor(expiresAtMs / 1_000),
    nats: {
      type: 'user',
      version: 2,
      pub: { allow: permissions.publish },
      sub: { allow: permissions.subscribe },
      subs: -1,
      data: -1,
      payload: -1,
      allowed_connection_types: ['WEBSOCKET'],
    },
  })
  return answer(question, { jwt }, issuer)
}

/** The reason gets as far as the server's log; every client sees the same. */
export function refusing(question: Question, reason: string, issuer: Signer): string {
  return answer(question, { error: reason }, issuer)
}

function answer({ nats }: Question, body: object, issuer: Signer): string {
  return signed(issuer, {
    sub: nats.user_nkey,
    aud: nats.server_id.id,
    nats: { type: 'authorization_response', version: 2, ...body },
  })
}

const header = Buffer.from('{"typ":"JWT","alg":"ed25519-nkey"}').toString('base64url')

function signed(issuer: Signer, claims: object): string {
  const iat = Math.floor(Date.now() / 1_000)
  const whole = { jti: randomUUID(), iat, iss: issuer.publicKey, ...claims }
  const text = `${header}.${Buffer.from(JSON.stringify(whole)).toString('base64url')}`
  return `${text}.${issuer.sign(Buffer.from(text)).toString('base64url')}`
}
