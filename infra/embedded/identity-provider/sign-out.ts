/**
 * Signing out. A relying party that shows the ID token of the person who is signed in needs no second question;
 * anybody else gets a page to confirm, so that a link cannot sign people out. Where the library would send a form
 * that a script submits, a redirect leads to `completionPath`, and the form is submitted here, on the server.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type Provider from 'oidc-provider'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { pageHeaders } from '../../page.ts'
import { signedOutPage, signOutPage } from './pages.ts'
import { userBySubject } from './users.ts'

export const completionPath = '/sign-out/complete'
const confirmationPath = '/session/end/confirm'

export const signOutSources = {
  async logoutSource(ctx: KoaContextWithOIDC) {
    const user = userBySubject(ctx.oidc.session?.accountId)
    ctx.set(pageHeaders)
    ctx.body = signOutPage({
      action: confirmationPath,
      xsrf: xsrfOf(ctx),
      name: user?.displayName ?? 'Somebody',
    })
  },
  async postLogoutSuccessSource(ctx: KoaContextWithOIDC) {
    ctx.set(pageHeaders)
    ctx.body = signedOutPage()
  },
}

/** To be called once for a provider, before its first request. */
export function shortenSignOut(provider: Provider): void {
  provider.use(async (ctx: KoaContextWithOIDC, next: () => Promise<void>) => {
    await next()
    if (ctx.oidc?.route !== 'end_session' || ctx.status !== 200 || !needsNoQuestion(ctx)) return
    ctx.status = 303
    ctx.redirect(`${completionPath}?${new URLSearchParams({ xsrf: xsrfOf(ctx) })}`)
  })
}

/** Submits the confirmation in the browser's name: its cookies there, the library's answer back. */
export async function completeSignOut(
  issuer: string,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const xsrf = new URL(req.url ?? '/', issuer).searchParams.get('xsrf') ?? ''
  const answer = await fetch(issuer + confirmationPath, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: req.headers.cookie ?? '', accept: req.headers.accept ?? 'text/html' },
    body: new URLSearchParams({ xsrf, logout: 'yes' }),
    signal: AbortSignal.timeout(10_000),
  })
  const headers: Record<string, string | string[]> = { 'set-cookie': answer.headers.getSetCookie() }
  const location = answer.headers.get('location')
  if (location) headers.location = location
  res.writeHead(answer.status, { ...pageHeaders, ...headers }).end(await answer.text())
}

function needsNoQuestion(ctx: KoaContextWithOIDC): boolean {
  const signedIn = ctx.oidc.session?.accountId
  const hint = ctx.oidc.entities.IdTokenHint as { payload?: { sub?: string } } | undefined
  return signedIn === undefined || signedIn === hint?.payload?.sub
}

/** The library binds it to the session; only the browser that holds the session can use it. */
function xsrfOf(ctx: KoaContextWithOIDC): string {
  return String(ctx.oidc.session?.state?.secret ?? '')
}
