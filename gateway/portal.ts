/** Pages and endpoints of the gateway itself: the portal's host, and `/.sallyport/` at every published host. */

import { STATUS_CODES } from 'node:http'
import { type Application, isAssigned } from '#infra/contracts/application.ts'
import type { AssertionKey, AssertionKeySet } from '#infra/contracts/assertion.ts'
import { SallyportError } from '#infra/errors.ts'
import { controlPrefix } from '#infra/http.ts'
import {
  type ApplicationTile,
  applicationTiles,
  card,
  emptyState,
  form,
  html,
  intro,
  linkButton,
  pageHeaders,
  renderPage,
  submitButton,
} from '#infra/page.ts'
import type { ApplicationSignIn } from './application-sign-in.ts'
import type { ConnectorsDoor } from './connectors-door.ts'
import { type ClientResponse, flatHeaders } from './front/client.ts'
import type { Incoming } from './incoming.ts'
import { MethodNotAllowed } from './methods.ts'
import { redirect } from './redirect.ts'
import type { Session, SessionStore } from './session.ts'
import { sessionCookie } from './session.ts'
import type { SignIn } from './sign-in.ts'
import type { EndpointVisit } from './visit.ts'

/** At every host, also where nothing is published. */
export const healthPath = '/.sallyport/health'

export interface PortalContext {
  portalUrl: string
  signIn: SignIn
  applicationSignIn: ApplicationSignIn
  sessions: SessionStore
  connectors: ConnectorsDoor
  applications: () => ReadonlyMap<string, Application>
  /** What applications verify assertions with. */
  assertionKeys: () => ReadonlyMap<string, AssertionKey>
  /** Empty when the gateway can serve, else what is missing. */
  unavailable: () => string[]
}

type Route = (context: PortalContext, visit: EndpointVisit) => Promise<void> | void

/** At the portal's host. */
const portalRoutes: Readonly<Record<string, Route>> = {
  'GET /': home,
  'GET /.sallyport/authorize': ({ signIn }, visit) => signIn.authorize(visit),
  'GET /.sallyport/callback': ({ signIn }, visit) => signIn.returned(visit),
  'POST /.sallyport/sign-out': ({ signIn }, visit) => signIn.signOut(visit),
  'GET /.sallyport/signed-out': signedOut,
  'GET /.sallyport/session': sessionFacts,
  'GET /.sallyport/health': health,
  'GET /.sallyport/jwks.json': assertionKeySet,
  'POST /.sallyport/connectors/enroll': ({ connectors }, visit) => connectors.enrol(visit),
  'POST /.sallyport/connectors/status': ({ connectors }, visit) => connectors.status(visit),
  'POST /.sallyport/connectors/renew': ({ connectors }, visit) => connectors.renew(visit),
  'GET /.sallyport/connectors/revoked.crl': ({ connectors }, visit) =>
    connectors.revocationList(visit),
  'GET /.sallyport/connectors/direct': ({ connectors }, visit) => connectors.direct(visit),
  'GET /robots.txt': robots,
}

/** At the host of an application. */
const applicationRoutes: Readonly<Record<string, Route>> = {
  'GET /.sallyport/callback': ({ applicationSignIn }, visit) => applicationSignIn.takeOver(visit),
  'GET /.sallyport/sign-in': ({ applicationSignIn }, visit) => applicationSignIn.signInHere(visit),
  'GET /.sallyport/session': sessionFacts,
  'GET /.sallyport/sign-out': ({ portalUrl }, { res }) => redirect(res, portalUrl, []),
  'GET /.sallyport/health': health,
  'GET /.sallyport/jwks.json': assertionKeySet,
}

/** @throws SallyportError `not_found` or `method_not_allowed` for what is no route. */
export async function servePortal(context: PortalContext, visit: EndpointVisit): Promise<void> {
  await serve(portalRoutes, context, visit)
}

export async function serveControl(context: PortalContext, visit: EndpointVisit): Promise<void> {
  await serve(applicationRoutes, context, visit)
}

async function serve(
  routes: Readonly<Record<string, Route>>,
  context: PortalContext,
  visit: EndpointVisit,
): Promise<void> {
  const { method, path } = visit.incoming
  const route = routes[`${method === 'HEAD' ? 'GET' : method} ${path}`]
  if (route) return route(context, visit)
  const known = Object.keys(routes).find(key => key.endsWith(` ${path}`))
  if (known === undefined) throw new SallyportError('not_found', `${method} ${path}`)
  throw new MethodNotAllowed(method, known.startsWith('GET ') ? 'GET, HEAD' : 'POST')
}

async function home({ signIn, applications, portalUrl }: PortalContext, visit: EndpointVisit) {
  const session = await signIn.portalSession(visit.incoming)
  if (!session) {
    return signIn.begin(visit, { hostname: '', target: '/', nonceHash: '', tries: 0 })
  }
  const tiles = [...applications().values()].filter(app => isListed(app, session)).map(tile)
  tiles.sort((a, b) => a.name.localeCompare(b.name))
  const [firstName = session.displayName] = session.displayName.split(' ')
  const body = html`${intro(
    `Hello, ${firstName}`,
    tiles.length === 0 ? undefined : 'These are the applications that you may open.',
  )}${
    tiles.length > 0
      ? applicationTiles(tiles)
      : emptyState('No application yet', 'An administrator has to assign one to you.')
  }`
  sendPage(
    visit.res,
    200,
    renderPage({ title: 'Your applications', body, actions: account(session), homeUrl: portalUrl }),
  )
}

/** Wildcard applications have no single address that a tile could lead to. */
function isListed(application: Application, session: Session): boolean {
  const { externalUrl, externalAuthenticationType } = application.onPremisesPublishing
  if (externalUrl.includes('*')) return false
  return externalAuthenticationType === 'passthru' || isAssigned(application, session)
}

function tile({ displayName, onPremisesPublishing }: Application): ApplicationTile {
  return { name: displayName, url: onPremisesPublishing.externalUrl }
}

function account({ userPrincipalName }: Session) {
  return html`<span class="who">${userPrincipalName}</span>${form({
    action: '/.sallyport/sign-out',
    body: submitButton('Sign out', { kind: 'secondary' }),
  })}`
}

async function signedOut({ portalUrl, signIn }: PortalContext, visit: EndpointVisit) {
  // Whoever comes by the address alone must not leave a session behind that they believe to be over.
  if (await signIn.portalSession(visit.incoming)) return redirect(visit.res, portalUrl, [])
  const body = card(
    html`<h1>You are signed out</h1>`,
    html`<p class="lead">Your sessions of every application have ended. Close the browser if others use this device.</p>`,
    linkButton('Sign in again', portalUrl),
  )
  const page = renderPage({ title: 'Signed out', body, layout: 'gate', homeUrl: portalUrl })
  sendPage(visit.res, 200, page)
}

/** Who is signed in at this host, for scripts of the same origin. */
async function sessionFacts(
  { sessions }: PortalContext,
  { incoming, res }: EndpointVisit,
): Promise<void> {
  const cookie = incoming.cookies.get(sessionCookie)
  const session = cookie && (await sessions.read(cookie, incoming.hostname))
  if (!session) throw new SallyportError('unauthenticated', 'no session')
  const { userPrincipalName, displayName, expiresAtMs } = session
  sendJson(res, 200, {
    userPrincipalName,
    displayName,
    expiresDateTime: new Date(expiresAtMs).toISOString(),
  })
}

/** For load balancers: 200 while this gateway can serve. */
function health({ unavailable }: PortalContext, { res }: EndpointVisit): void {
  const missing = unavailable()
  sendJson(res, missing.length === 0 ? 200 : 503, {
    status: missing.length === 0 ? 'ready' : 'unavailable',
    missing,
  })
}

/** Public, as keys that only verify are. A new key is there before anything is signed with it. */
function assertionKeySet({ assertionKeys }: PortalContext, { res }: EndpointVisit): void {
  const headers = {
    'content-type': 'application/jwk-set+json',
    'cache-control': 'public, max-age=60',
    'access-control-allow-origin': '*',
  }
  const keySet: AssertionKeySet = { keys: [...assertionKeys().values()] }
  send(res, 200, headers, JSON.stringify(keySet))
}

function robots(_context: PortalContext, { res }: EndpointVisit): void {
  send(res, 200, { 'content-type': 'text/plain; charset=utf-8' }, 'User-agent: *\nDisallow: /\n')
}

function sendPage(res: ClientResponse, status: number, page: string): void {
  send(res, status, pageHeaders, page)
}

function sendJson(res: ClientResponse, status: number, value: unknown): void {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  send(res, status, headers, JSON.stringify(value))
}

function send(
  res: ClientResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
): void {
  res.sendWhole(status, STATUS_CODES[status] ?? '', flatHeaders(headers), Buffer.from(body))
}

/** Whether the request is for one of our own endpoints at the host of an application. */
export function isControl({ path }: Incoming): boolean {
  return path.startsWith(controlPrefix)
}
