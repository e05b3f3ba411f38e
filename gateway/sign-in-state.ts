/**
 * What a sign-in carries to the identity provider and back, without any state at the gateway: one secret in a cookie
 * of the portal authenticates the `state` parameter and yields nonce and PKCE verifier (RFC 7636). So any number of
 * tabs can sign in at once, at any gateway, with one small cookie.
 */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { Challenge } from '#infra/contracts/policy.ts'
import { ownCookiePrefix, pathOf } from '#infra/http.ts'

export const signInCookie = `${ownCookiePrefix}-sign-in`

/** A sign-in may be started over so often before the user is told. */
export const maxTries = 3

/** The nonce and the sign-in secret outlive a coffee break at the provider's form, not a day. */
export const transientCookieSeconds = 3_600

/** What providers take in an address has an end. */
const maxTargetChars = 4_096

/** Of a target that is too long to come back, its path: better than no way to sign in. */
export function returnTarget(target: string): string {
  return target.length > maxTargetChars ? pathOf(target) : target
}

/** Where the user wanted to go: an application's host, or the portal itself. */
export const Destination = z.object({
  /** Empty for the portal. */
  hostname: z.string().max(253),
  target: z
    .string()
    .max(maxTargetChars)
    .regex(/^\/[\t -~\x80-\xff]*$/, 'must be a path that a Location can carry')
    // A browser takes these at its front, backslashes like slashes and tabs like nothing, for the name of another host.
    .transform(target => target.replace(/^\/[\t/\\]+/, '/')),
  /** Hash of the nonce that the application's host keeps in the browser. */
  nonceHash: z.string().max(64),
  /** How often this sign-in was started over. */
  tries: z.number().int().min(0).max(10),
  /** What policy wants of this sign-in. */
  wanted: Challenge.optional(),
})
export type Destination = z.output<typeof Destination>

const State = Destination.extend({ id: z.string().length(22) })

/** What was wanted of a sign-in, to be compared with what is wanted afterwards. */
export function wantedKey({ acrValues, maxAgeSeconds }: Challenge): string {
  return JSON.stringify([acrValues, maxAgeSeconds ?? null])
}

/** As parameters of our own URLs, named as the provider's. */
export function writeWanted(parameters: URLSearchParams, wanted: Challenge | undefined): void {
  if (!wanted) return
  parameters.set('acr_values', wanted.acrValues.join(' '))
  if (wanted.maxAgeSeconds !== undefined) parameters.set('max_age', String(wanted.maxAgeSeconds))
}

/** Undefined when nothing is wanted. What somebody else writes there decides nothing: policy looks at what came of it. */
export function readWanted(parameters: URLSearchParams): Challenge | undefined {
  const [values, age] = [parameters.get('acr_values'), parameters.get('max_age')]
  if (values === null && age === null) return undefined
  const acrValues = (values ?? '').split(' ').filter(value => value !== '')
  const wanted = { acrValues, ...(age !== null && { maxAgeSeconds: Number(age) }) }
  return Challenge.safeParse(wanted).data
}

export const newSignInSecret = () => randomBytes(32).toString('base64url')

const secretPattern = /^[\w-]{43}$/

/** The secret in the cookie, or undefined when there is none that could be ours. */
export function signInSecret(cookies: ReadonlyMap<string, string>): string | undefined {
  const value = cookies.get(signInCookie)
  return value !== undefined && secretPattern.test(value) ? value : undefined
}

export interface SignInParameters {
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
}

export function beginSignIn(secret: string, destination: Destination): SignInParameters {
  const id = randomBytes(16).toString('base64url')
  const payload = Buffer.from(JSON.stringify({ ...destination, id })).toString('base64url')
  return { state: `${payload}.${mac(secret, `state ${payload}`)}`, ...derived(secret, id) }
}

export interface ReturnedSignIn {
  readonly destination: Destination
  /** Only when this browser began the sign-in. */
  readonly parameters: SignInParameters | undefined
}

/** Reads a `state` that came back; undefined when it was never one of ours. */
export function returnedSignIn(
  state: string,
  secret: string | undefined,
): ReturnedSignIn | undefined {
  const [payload = '', tag = ''] = state.split('.')
  const parsed = State.safeParse(decode(payload))
  if (!parsed.success) return undefined
  const { id, ...destination } = parsed.data
  const isOwn = secret !== undefined && isEqual(tag, mac(secret, `state ${payload}`))
  return { destination, parameters: isOwn ? { state, ...derived(secret, id) } : undefined }
}

function derived(secret: string, id: string): { nonce: string; codeVerifier: string } {
  return { nonce: mac(secret, `nonce ${id}`), codeVerifier: mac(secret, `verifier ${id}`) }
}

function mac(secret: string, text: string): string {
  return createHmac('sha256', secret).update(text).digest('base64url')
}

function isEqual(said: string, right: string): boolean {
  const [a, b] = [Buffer.from(said), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function decode(payload: string): unknown {
  try {
    return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
}
