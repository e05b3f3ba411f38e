/**
 * The way into the provider: its own host name only, bodies of bounded length, then the sign-in pages, the end of a
 * sign-out, or oidc-provider. Whatever fails becomes a page with a support id, which the log repeats.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type Provider from 'oidc-provider'
import { errors, type KoaContextWithOIDC } from 'oidc-provider'
import type { Logger } from '../../log.ts'
import { pageHeaders } from '../../page.ts'
import { type Attempts, countAttempts } from './attempts.ts'
import { aboutPage, failurePage } from './pages.ts'
import { FormTooLong, formBytes, signIn, signInPath } from './sign-in.ts'
import { completeSignOut, completionPath, shortenSignOut } from './sign-out.ts'

export function answerWith(options: {
  issuer: string
  provider: Provider
  log?: Logger | undefined
}) {
  const { issuer, provider, log } = options
  provider.use(unknownAddress)
  shortenSignOut(provider)
  provider.on('server_error', (_ctx, err) => log?.error({ err }, 'the identity provider failed'))
  const attempts = countAttempts()
  const context = { issuer, provider, attempts, otherwise: provider.callback() }
  return (req: IncomingMessage, res: ServerResponse): void => {
    answer(context, req, res).catch(err => {
      const failure = failureOf(err)
      const supportId = sendFailure(res, failure)
      if (failure.status >= 500) log?.error({ err, supportId }, 'the identity provider failed')
    })
  }
}

interface Context {
  issuer: string
  provider: Provider
  attempts: Attempts
  otherwise: (req: IncomingMessage, res: ServerResponse) => Promise<void>
}

async function answer(context: Context, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { issuer, provider, attempts } = context
  if (`http://${req.headers.host}` !== issuer) return void sendFailure(res, wrongHost(issuer))
  if (Number(req.headers['content-length'] ?? 0) > formBytes) throw new FormTooLong()
  const path = (req.url ?? '/').split('?', 1)[0] ?? '/'
  if (path === '/' && req.method === 'GET')
    return void res.writeHead(200, pageHeaders).end(aboutPage(issuer))
  if (path === completionPath && req.method === 'GET') return completeSignOut(issuer, req, res)
  const page = signInPath.exec(path)
  if (!page) return context.otherwise(req, res)
  const interaction = await provider.interactionDetails(req, res)
  const stage = page[2] as 'password' | 'code' | undefined
  return signIn({ provider, attempts, interaction, req, res }, stage)
}

/** What neither we nor the library know: a page instead of two bare words. */
async function unknownAddress(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next()
  if (ctx.status !== 404 || ctx.body) return
  const supportId = crypto.randomUUID()
  ctx.set(pageHeaders)
  ctx.body = failurePage({ ...notFound, supportId })
  ctx.status = notFound.status
}

interface Failure {
  status: number
  code: string
  title: string
  advice: string
}

const notFound: Failure = {
  status: 404,
  code: 'not_found',
  title: 'There is no such page.',
  advice: 'Check the address.',
}

function wrongHost(issuer: string): Failure {
  return {
    status: 421,
    code: 'misdirected_request',
    title: 'The identity provider is not at this address.',
    advice: `Open ${issuer}/ instead.`,
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof FormTooLong)
    return {
      status: 413,
      code: 'form_too_long',
      title: 'The form is too long.',
      advice: 'Go back and shorten what you typed.',
    }
  if (error instanceof errors.SessionNotFound)
    return {
      status: 400,
      code: 'sign_in_expired',
      title: 'This sign-in is over.',
      advice:
        'It was finished already, or it took longer than ten minutes. Open the application again to start anew.',
    }
  return {
    status: 500,
    code: 'internal',
    title: 'The identity provider failed.',
    advice: 'Open the application again to start anew.',
  }
}

function sendFailure(res: ServerResponse, failure: Failure): string {
  const supportId = crypto.randomUUID()
  if (res.headersSent) res.destroy()
  else
    res
      .writeHead(failure.status, { ...pageHeaders, connection: 'close' })
      .end(failurePage({ ...failure, supportId }))
  return supportId
}
