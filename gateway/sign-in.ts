/**
 * Signing in and out, at the portal's host: begin, return from the provider, hand the session over to an application's
 * host (application-sign-in.ts takes it there), sign out. Every step is a redirect, no script is needed, and a step that
 * comes too late or from another browser starts over instead of failing.
 */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { SignInReply } from '#infra/contracts/policy.ts'
import { type Principal, sessionLifetimeMs } from '#infra/contracts/principal.ts'
import { SallyportError } from '#infra/errors.ts'
import { pathOf } from '#infra/http.ts'
import { InsistentCalls } from '#infra/insistent-calls.ts'
import { subjects } from '#infra/subjects.ts'
import { setCookie } from './cookie.ts'
import { clientOf } from './facts.ts'
import type { ClientResponse } from './front/client.ts'
import type { HandoverCodes } from './handover.ts'
import type { IdentityProvider } from './identity-provider.ts'
import type { Incoming } from './incoming.ts'
import { applicationAt, externalOrigin, type Publication } from './publish.ts'
import { redirect } from './redirect.ts'
import { type Session, type SessionStore, sessionCookie } from './session.ts'
import {
  beginSignIn,
  Destination,
  maxTries,
  newSignInSecret,
  readWanted,
  returnedSignIn,
  signInCookie,
  signInSecret,
  transientCookieSeconds,
  wantedKey,
} from './sign-in-state.ts'
import type { EndpointVisit } from './visit.ts'

/** Policy verifies the token with the provider's keys, which it may have to fetch. */
const signInTimeoutMs = 10_000

export interface SignInContext {
  bus: Bus
  portalUrl: string
  provider: IdentityProvider
  sessions: SessionStore
  codes: HandoverCodes
  publication: () => Publication
}

export class SignIn {
  readonly #context: SignInContext
  readonly #calls: InsistentCalls
  readonly #portal: URL

  constructor(context: SignInContext) {
    this.#context = context
    this.#calls = new InsistentCalls(context.bus, 'gateway')
    this.#portal = new URL(context.portalUrl)
  }

  /** `GET <portal>/.sallyport/authorize`: hands over the session, or begins a sign-in first. */
  async authorize(visit: EndpointVisit): Promise<void> {
    const { searchParams } = new URL(visit.incoming.target, this.#portal)
    const destination = Destination.safeParse({
      hostname: searchParams.get('host') ?? '',
      target: searchParams.get('target') ?? '/',
      nonceHash: searchParams.get('nonce') ?? '',
      tries: Number(searchParams.get('try') ?? 0),
      wanted: readWanted(searchParams),
    })
    if (!destination.success) throw new SallyportError('bad_request', destination.error.message)
    this.#originOf(destination.data)
    const session = await this.portalSession(visit.incoming)
    const isFresh = searchParams.get('fresh') === 'true'
    if (session && !isFresh) return this.#handOver(visit.res, destination.data, session, [])
    await this.begin(visit, destination.data)
  }

  /** Sends the browser to the identity provider. */
  async begin({ incoming, res }: EndpointVisit, destination: Destination): Promise<void> {
    const secret = signInSecret(incoming.cookies) ?? newSignInSecret()
    const parameters = beginSignIn(secret, destination)
    const url = await this.#context.provider.authorizationUrl(parameters, destination.wanted)
    redirect(res, url.href, [
      setCookie(signInCookie, secret, { maxAgeSeconds: transientCookieSeconds }),
    ])
  }

  /** `GET <portal>/.sallyport/callback`: back from the provider. */
  async returned(visit: EndpointVisit): Promise<void> {
    const { incoming, res } = visit
    const url = new URL(incoming.target, this.#portal)
    const returned = returnedSignIn(
      url.searchParams.get('state') ?? '',
      signInSecret(incoming.cookies),
    )
    if (!returned) throw new SallyportError('sign_in_failed', 'a state that is not ours')
    const { destination, parameters } = returned
    if (!parameters) return this.#startOver(visit, destination)
    const refusal = url.searchParams.get('error')
    if (refusal !== null) throw new SallyportError('sign_in_failed', `provider: ${refusal}`)
    const idToken = await this.#context.provider.idToken(url, parameters)
    // Who reloads on the way brings a code for the second time.
    if (idToken === undefined) return this.#beginAgain(visit, destination, 'the code was refused')
    const signedIn = await this.#signIn(incoming, idToken)
    const { wanted } = destination
    const session = { ...signedIn, ...(wanted && { stepUp: wantedKey(wanted) }) }
    const cookie = await this.#context.sessions.create({ ...session, idToken })
    const previous = incoming.cookies.get(sessionCookie)
    if (previous) await this.#context.sessions.delete(previous)
    await this.#handOver(res, destination, session, [setCookie(sessionCookie, cookie)])
  }

  /** Another tab signed in with another secret: go on with its session, or begin again. */
  async #startOver(visit: EndpointVisit, destination: Destination): Promise<void> {
    const session = await this.portalSession(visit.incoming)
    if (session) return this.#handOver(visit.res, destination, session, [])
    await this.#beginAgain(visit, destination, 'the browser keeps no cookie of the portal')
  }

  async #beginAgain(visit: EndpointVisit, destination: Destination, why: string): Promise<void> {
    if (destination.tries >= maxTries) throw new SallyportError('sign_in_failed', why)
    await this.begin(visit, { ...destination, tries: destination.tries + 1 })
  }

  async #signIn(incoming: Incoming, idToken: string): Promise<PortalSession> {
    const { facts } = clientOf(incoming)
    const question = { idToken, requestId: incoming.requestId, facts }
    const reply = await this.#ask(subjects.signIn, question, SignInReply)
    if (reply.outcome === 'refused') {
      throw new SallyportError('sign_in_failed', reply.reasons.join(', '))
    }
    return portalSession(reply.sessionId, reply.principal, reply.expiresAtMs, this.#portal.hostname)
  }

  /** What was asked is not asked again once the bus was lost: nobody waits for it any more. */
  async #ask<Reply extends z.ZodType>(
    subject: string,
    question: object,
    reply: Reply,
  ): Promise<z.output<Reply>> {
    const unavailable = 'sign_in_unavailable'
    const ending = new AbortController()
    const options = {
      reply,
      timeoutMs: signInTimeoutMs,
      unavailable,
      signal: ending.signal,
    } as const
    const ask = () => this.#calls.ask(subject, question, options)
    return await this.#context.bus.whileConnected(ask, unavailable).finally(() => ending.abort())
  }

  portalSession(incoming: Incoming): Promise<Session | undefined> {
    const cookie = incoming.cookies.get(sessionCookie)
    if (cookie === undefined) return Promise.resolve(undefined)
    return this.#context.sessions.read(cookie, this.#portal.hostname)
  }

  /** To the portal itself, or with a one-time code to the application's host. */
  async #handOver(
    res: ClientResponse,
    destination: Destination,
    session: Omit<Session, 'recordKey'>,
    cookies: string[],
  ): Promise<void> {
    const { hostname, target, nonceHash: hash, tries } = destination
    if (hostname === '') return redirect(res, new URL(target, this.#portal).href, cookies)
    const url = new URL('/.sallyport/callback', this.#originOf(destination))
    const { hostname: _, idToken: __, ...handedOver } = session
    const code = await this.#context.codes.issue({
      hostname,
      target,
      nonceHash: hash,
      session: handedOver,
    })
    url.searchParams.set('code', code)
    url.searchParams.set('target', target)
    if (tries > 0) url.searchParams.set('try', String(tries))
    redirect(res, url.href, cookies)
  }

  /** Only hosts that are published get a code. */
  #originOf({ hostname, target }: Destination): string {
    if (hostname === '') return this.#portal.origin
    const paths = this.#context.publication().at(hostname)
    const application = paths && applicationAt(paths, pathOf(target))
    if (!application) throw new SallyportError('unknown_host', `${hostname} is not published`)
    return externalOrigin(application, hostname)
  }

  /** `POST <portal>/.sallyport/sign-out`: ends the session everywhere, then the provider's. */
  async signOut({ incoming, res }: EndpointVisit): Promise<void> {
    const cookie = incoming.cookies.get(sessionCookie)
    const session = await this.portalSession(incoming)
    if (session) {
      const question = { sessionId: session.sessionId, requestId: incoming.requestId }
      await this.#ask(subjects.signOut, question, z.unknown())
    }
    if (cookie !== undefined) await this.#context.sessions.delete(cookie)
    const signedOut = new URL('.sallyport/signed-out', this.#portal).href
    const ended = await this.#context.provider
      .endSessionUrl(session?.idToken)
      .catch(() => undefined)
    redirect(res, ended?.href ?? signedOut, [setCookie(sessionCookie, '', { maxAgeSeconds: 0 })])
  }
}

type PortalSession = Omit<Session, 'recordKey'>

function portalSession(
  sessionId: string,
  principal: Principal,
  expiresAtMs: number,
  hostname: string,
): PortalSession {
  return {
    hostname,
    sessionId,
    userPrincipalName: principal.userPrincipalName,
    displayName: principal.displayName,
    groups: principal.groups,
    signedInAtMs: Date.now(),
    expiresAtMs: Math.min(expiresAtMs, Date.now() + sessionLifetimeMs),
  }
}
