/**
 * Signing in, as the host of an application sees it: whoever has no session here, or not the one that policy wants, is
 * sent to the portal (sign-in.ts) and comes back with a one-time code (handover.ts), for which this host gives them an
 * access cookie and a session of its own. A code that is too late or of another browser starts over.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { Challenge, Decision } from '#infra/contracts/policy.ts'
import { SallyportError } from '#infra/errors.ts'
import { ownCookiePrefix, pathOf } from '#infra/http.ts'
import { type CookieOptions, setCookie } from './cookie.ts'
import { type Handover, type HandoverCodes, newNonce, nonceHash } from './handover.ts'
import type { Incoming } from './incoming.ts'
import { applicationAt, type Publication } from './publish.ts'
import { type Question, questionOf } from './question.ts'
import { redirect } from './redirect.ts'
import { type SessionStore, sessionCookie } from './session.ts'
import {
  Destination,
  maxTries,
  readWanted,
  returnTarget,
  transientCookieSeconds,
  writeWanted,
} from './sign-in-state.ts'
import type { EndpointVisit } from './visit.ts'

const nonceCookie = `${ownCookiePrefix}-nonce`

export interface ApplicationSignInContext {
  portalUrl: string
  sessions: SessionStore
  codes: HandoverCodes
  publication: () => Publication
  /** What policy says of a session at an application. */
  decide: (question: Question) => Promise<{ readonly decision: Decision }>
}

interface RedirectOptions {
  /** Past the session that the portal has. */
  isFresh: boolean
  tries?: number
  /** What policy wants of the sign-in. */
  wanted?: Challenge | undefined
}

export class ApplicationSignIn {
  readonly #context: ApplicationSignInContext

  constructor(context: ApplicationSignInContext) {
    this.#context = context
  }

  /** Sends a navigation to an application off to the portal, and back to where it is now afterwards. */
  redirectToPortal({ incoming, res }: EndpointVisit, options: RedirectOptions): void {
    const { cookies, hostname, target } = incoming
    const nonce = cookies.get(nonceCookie) ?? newNonce()
    const url = new URL('.sallyport/authorize', this.#context.portalUrl)
    url.searchParams.set('host', hostname)
    url.searchParams.set('target', returnTarget(target))
    url.searchParams.set('nonce', nonceHash(nonce))
    if (options.tries) url.searchParams.set('try', String(options.tries))
    if (options.isFresh) url.searchParams.set('fresh', 'true')
    writeWanted(url.searchParams, options.wanted)
    redirect(res, url.href, [
      setCookie(nonceCookie, nonce, { maxAgeSeconds: transientCookieSeconds }),
    ])
  }

  /** `GET <application>/.sallyport/sign-in`: for programs, which open it in a window and try again afterwards. */
  signInHere(visit: EndpointVisit): void {
    const { searchParams } = new URL(visit.incoming.target, 'http://application')
    const wish = returnTarget(searchParams.get('target') ?? '/')
    const target = Destination.shape.target.safeParse(wish)
    if (!target.success) throw new SallyportError('bad_request', 'target: must be a path')
    const incoming = { ...visit.incoming, target: target.data }
    const wanted = readWanted(searchParams)
    this.redirectToPortal({ ...visit, incoming }, { isFresh: wanted !== undefined, wanted })
  }

  /** `GET <application>/.sallyport/callback`: takes the session over and goes on to the target. */
  async takeOver(visit: EndpointVisit): Promise<void> {
    const { incoming, res } = visit
    const { hostname, cookies } = incoming
    const { searchParams } = new URL(incoming.target, 'http://application')
    const target = Destination.shape.target.safeParse(searchParams.get('target') ?? '/').data ?? '/'
    const nonce = cookies.get(nonceCookie)
    const code = searchParams.get('code')
    const handover =
      nonce && code ? await this.#context.codes.redeem(code, hostname, nonce) : undefined
    if (handover) {
      const cookie = await this.#context.sessions.create({ hostname, ...handover.session })
      const options = await this.#accessCookie(incoming, handover)
      return redirect(res, handover.target, [setCookie(sessionCookie, cookie, options)])
    }
    const current = cookies.get(sessionCookie)
    const session = current && (await this.#context.sessions.read(current, hostname))
    if (session) return redirect(res, target, [])
    const tries = Number(searchParams.get('try') ?? 0)
    if (!(tries < maxTries)) throw new SallyportError('sign_in_failed', 'the code was refused')
    const again = { ...visit, incoming: { ...incoming, target } }
    this.redirectToPortal(again, { isFresh: false, tries: tries + 1 })
  }

  /**
   * How the application wants its access cookie (Graph: isPersistentCookieEnabled, isHttpOnlyCookieEnabled), and policies
   * do (persistentBrowser). A cookie ends with the browser when nobody can say.
   */
  async #accessCookie(incoming: Incoming, { target, session }: Handover): Promise<CookieOptions> {
    const paths = this.#context.publication().at(incoming.hostname)
    const application = paths && applicationAt(paths, pathOf(target))
    if (!application) return {}
    const { isPersistentCookieEnabled, isHttpOnlyCookieEnabled } = application.onPremisesPublishing
    // It is one cookie for all paths of the host.
    const isCrossSite = paths.some(each => letsOthersIn(each.application))
    const question = questionOf(incoming, application, session)
    const answer = await this.#context.decide(question).catch(() => undefined)
    const demanded = answer ? answer.decision.sessionDemands?.persistentBrowser : 'never'
    const isPersistent = demanded ? demanded === 'always' : isPersistentCookieEnabled
    const maxAgeSeconds = Math.max(0, (session.expiresAtMs - Date.now()) / 1_000)
    const isHttpOnly = isHttpOnlyCookieEnabled
    return { isHttpOnly, isCrossSite, ...(isPersistent && { maxAgeSeconds }) }
  }
}

function letsOthersIn({ onPremisesPublishing }: Application): boolean {
  return onPremisesPublishing.corsConfigurations.length > 0
}
