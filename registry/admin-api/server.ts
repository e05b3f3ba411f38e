/**
 * The HTTP API for administrators, at Microsoft Graph's paths under /v1.0 and /beta alike. Everything below them needs
 * the bearer token; `/` says what this is and `/openapi.json` describes it. It listens on loopback unless told
 * otherwise: the token travels in clear text, so put TLS in front of any other address.
 */

import { randomUUID } from 'node:crypto'
import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import {
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod'
import { depthProblemOf } from '#infra/json.ts'
import { cannotListen } from '#infra/listen-problem.ts'
import { version } from '#infra/version.ts'
import { invalid, Refusal } from '../refusal.ts'
import { applicationRoutes } from './application-routes.ts'
import { assignmentRoutes } from './assignment-routes.ts'
import { authenticator, requireToken } from './authenticate.ts'
import { connectorRoutes } from './connector-routes.ts'
import type { AdminContext, AdminServer } from './context.ts'
import { diagnosisRoutes } from './diagnosis-routes.ts'
import { enrolmentRoutes } from './enrolment-routes.ts'
import { explainRoutes } from './explain-routes.ts'
import { describe } from './openapi.ts'
import { policyRoutes } from './policy-routes.ts'
import { asRefusal, sendProblem } from './problem.ts'
import { recordRefusal } from './record.ts'
import { sessionRoutes } from './session-routes.ts'
import { signalRoutes } from './signal-routes.ts'
import { followUnfinished } from './unfinished.ts'

export interface AdminApiOptions extends AdminContext {
  host: string
  port: number
  token: string
}

export interface AdminApi extends AsyncDisposable {
  /** `http://127.0.0.1:8081` */
  readonly url: string
}

const prefixes = ['/v1.0', '/beta'] as const
const maxBodyBytes = 1024 * 1024

export async function startAdminApi(options: AdminApiOptions): Promise<AdminApi> {
  const { host, port } = options
  const app = createServer(options)
  const breakOffUnfinished = followUnfinished(app)
  await describe(app, prefixes)
  openRoutes(app)
  for (const prefix of prefixes) {
    await app.register(
      (part, _, done) => {
        protectedRoutes(part.withTypeProvider<ZodTypeProvider>(), options)
        done()
      },
      { prefix },
    )
  }
  await app.listen({ host, port }).catch(cause => {
    throw cannotListen(cause, { host, port, variables: 'SALLYPORT_REGISTRY' })
  })
  const address = app.server.address()
  const name = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${name}:${typeof address === 'object' ? address?.port : port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = app.close()
      breakOffUnfinished()
      await closed
    },
  }
}

function protectedRoutes(app: AdminServer, options: AdminApiOptions): void {
  app.addHook('onRequest', requireToken(authenticator(options.token)))
  applicationRoutes(app, options)
  connectorRoutes(app, options)
  enrolmentRoutes(app, options)
  assignmentRoutes(app, options)
  policyRoutes(app, options)
  sessionRoutes(app, options)
  signalRoutes(app, options)
  explainRoutes(app, options)
  diagnosisRoutes(app, options)
}

function createServer(options: AdminApiOptions): AdminServer {
  const app = fastify({
    bodyLimit: maxBodyBytes,
    genReqId: () => randomUUID(),
    forceCloseConnections: 'idle',
    // Graph's paths are case-insensitive; ids keep their case.
    routerOptions: { caseSensitive: false, ignoreTrailingSlash: true, maxParamLength: 1_024 },
    rewriteUrl: req => withoutKeys(req.url ?? '/'),
    frameworkErrors: refuseUnread(options),
  }).withTypeProvider<ZodTypeProvider>()
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  app.removeContentTypeParser(['text/plain', 'application/json'])
  readJson(app)
  app.decorateRequest('actor', '')
  app.addHook('onRequest', async (req, reply) => setCommonHeaders(req, reply))
  app.addHook('preValidation', async req => {
    const problem = depthProblemOf(req.body)
    if (problem) throw invalid(problem.property || 'body', problem.message)
  })
  answerErrors(app, options)
  return app
}

/** Many clients name the media type of every request, also of those that have no body. */
function readJson(app: AdminServer): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (req, body, done) => {
    if (body === '') done(null, undefined)
    else void parse(req, body as string, done)
  })
}

function setCommonHeaders(req: FastifyRequest, reply: FastifyReply): void {
  void reply.headers({ 'request-id': req.id, 'cache-control': 'no-store' })
}

/** Of a path that cannot be read, before there is a route with its hooks: it is refused like anything else. */
function refuseUnread({ token, audit }: AdminApiOptions) {
  const authenticate = authenticator(token)
  return (error: Error, req: FastifyRequest, reply: FastifyReply) => {
    req.actor = ''
    setCommonHeaders(req, reply)
    const refusal = authenticate(req, reply) ?? asRefusal(error)
    recordRefusal(audit, req)
    sendProblem(req, reply, refusal)
  }
}

/** OData also writes keys in parentheses: `applications('wiki')`, `applications(appId='…')`. */
function withoutKeys(url: string): string {
  const [path = '', ...query] = url.split('?')
  return [path.replace(/\((?:appId=)?'([^'/]+)'\)/gi, '/$1'), ...query].join('?')
}

function answerErrors(app: AdminServer, { audit, log }: AdminContext): void {
  app.setErrorHandler((error: Error, req, reply) => {
    const refusal = asRefusal(error)
    if (refusal.fault.status >= 500) log.error({ error, requestId: req.id }, 'a request failed')
    recordRefusal(audit, req)
    sendProblem(req, reply, refusal)
  })
  const isOffered = collectRoutes(app)
  app.setNotFoundHandler((req, reply) => {
    const methods = isOffered(req)
    if (methods.length > 0) void reply.header('allow', methods.join(', '))
    const path = req.url.split('?')[0]
    throw methods.length > 0
      ? new Refusal('method_not_allowed', `${path} takes ${methods.join(', ')}, not ${req.method}`)
      : new Refusal('resource_not_found', `there is nothing at ${path}; /openapi.json says what is`)
  })
}

/** The methods that a path takes, for 405 answers. */
function collectRoutes(app: AdminServer): (req: FastifyRequest) => string[] {
  const routes: { method: string; pattern: RegExp }[] = []
  app.addHook('onRoute', ({ method, url }) => {
    const source = url.replace(/[.$]/g, '\\$&').replace(/:\w+/g, '[^/]+')
    const pattern = new RegExp(`^${source}/?$`, 'i')
    for (const name of [method].flat()) routes.push({ method: name, pattern })
  })
  return req => {
    const path = req.url.split('?')[0] ?? ''
    return routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
  }
}

function openRoutes(app: AdminServer): void {
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  app.get('/', { schema: { hide: true } }, async (_, reply) => {
    void reply.type('text/plain; charset=utf-8')
    return welcome
  })
}

const welcome = `Sallyport registry ${version}: the API for administrators.

  /openapi.json                                                        what it offers (OpenAPI 3.1)
  /v1.0/applications                                                   published applications
  /v1.0/onPremisesPublishingProfiles/applicationProxy/connectorGroups  connector groups
  /v1.0/onPremisesPublishingProfiles/applicationProxy/connectors       connectors
  /v1.0/servicePrincipals/{id}/appRoleAssignedTo                       who may use an application
  /v1.0/identity/conditionalAccess/policies                            under which conditions
  /v1.0/users/{id}/revokeSignInSessions                                ends a user's sessions

Paths and property names are Microsoft Graph's; /beta is the same as /v1.0.
Send "Authorization: Bearer <token>" with the token in SALLYPORT_REGISTRY_ADMIN_TOKEN.
The command line does the same: sallyport --help
`
