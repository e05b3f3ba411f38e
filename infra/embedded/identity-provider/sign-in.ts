/**
 * The sign-in pages: a password, then a one-time code if `acr_values` wants one; who has a session and only lacks
 * the second factor gives only the code. Plain forms; every answer but the last is a page, the last a redirect.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type Provider from 'oidc-provider'
import { pageHeaders } from '../../page.ts'
import type { Attempts } from './attempts.ts'
import { acrMultifactor, acrPassword, wantsMultifactor } from './configuration.ts'
import { codePage, type Problem, passwordPage } from './pages.ts'
import { canonicalName, isCodeOf, type SampleUser, userByPassword, userBySubject } from './users.ts'

type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>

interface Step {
  provider: Provider
  attempts: Attempts
  interaction: Interaction
  req: IncomingMessage
  res: ServerResponse
}

export const signInPath = /^\/interaction\/([\w-]{1,64})(?:\/(password|code))?$/

export async function signIn(step: Step, stage: 'password' | 'code' | undefined): Promise<void> {
  if (step.req.method !== 'POST' || stage === undefined) {
    return (await isSignedInMeanwhile(step)) ? goOn(step) : ask(step)
  }
  const fields = await readForm(step.req)
  if (stage === 'password') return checkPassword(step, fields)
  return checkCode(step, fields)
}

/** In another tab, after this one had asked: nothing is left to ask here. */
async function isSignedInMeanwhile({ provider, interaction, req, res }: Step): Promise<boolean> {
  if (!interaction.prompt.reasons.every(reason => reason === 'no_session')) return false
  const session = await provider.Session.get(provider.createContext(req, res))
  return session.accountId !== undefined
}

function goOn({ interaction, res }: Step): void {
  res.writeHead(303, { ...pageHeaders, location: interaction.returnTo }).end()
}

/** A form post may be this long at most. */
export const formBytes = 16 * 1_024

export class FormTooLong extends Error {}

function ask(step: Step): void {
  const user = whoGavePassword(step.interaction)
  const hint = step.interaction.params.login_hint
  const name = typeof hint === 'string' ? hint.slice(0, 256) : ''
  const page = user
    ? codePage({ action: action(step, 'code'), name: user.displayName })
    : passwordPage({ action: action(step, 'password'), name })
  send(step.res, 200, page)
}

async function checkPassword(step: Step, fields: URLSearchParams): Promise<void> {
  const name = (fields.get('username') ?? '').slice(0, 256)
  const again = (status: number, problem: Problem) =>
    send(step.res, status, passwordPage({ action: action(step, 'password'), name, problem }))
  const key = canonicalName(name)
  const wait = step.attempts.waitSeconds(key)
  if (wait > 0) return again(429, tooManyAttempts(step.res, wait))
  const user = userByPassword(name, fields.get('password') ?? '')
  if (!user) {
    step.attempts.failed(key)
    return again(401, wrongPassword)
  }
  step.attempts.succeeded(key)
  if (!wantsMultifactor(step.interaction.params.acr_values))
    return finish(step, user, { acr: acrPassword, amr: ['pwd'] })
  await rememberPassword(step.interaction, user)
  send(step.res, 200, codePage({ action: action(step, 'code'), name: user.displayName }))
}

async function checkCode(step: Step, fields: URLSearchParams): Promise<void> {
  const user = whoGavePassword(step.interaction)
  if (!user) return ask(step)
  const again = (status: number, problem: Problem) =>
    send(
      step.res,
      status,
      codePage({ action: action(step, 'code'), name: user.displayName, problem }),
    )
  const key = `${user.name} code`
  const wait = step.attempts.waitSeconds(key)
  if (wait > 0) return again(429, tooManyAttempts(step.res, wait))
  if (!isCodeOf(user, fields.get('code') ?? '')) {
    step.attempts.failed(key)
    return again(401, {
      heading: 'That code is not right.',
      body: 'Type the six digits once more.',
    })
  }
  step.attempts.succeeded(key)
  return finish(step, user, { acr: acrMultifactor, amr: ['pwd', 'otp', 'mfa'] })
}

/**
 * Who only has to give the code: the password was given in this interaction, or earlier in the session and nothing
 * but the second factor is missing now (not: `prompt=login`, `max_age`, another person wanted).
 */
function whoGavePassword(interaction: Interaction): SampleUser | undefined {
  const given = (interaction.lastSubmission as { passwordOf?: string } | undefined)?.passwordOf
  if (given !== undefined) return userBySubject(given)
  const isStepUp = interaction.prompt.reasons.every(reason => reason === 'step_up')
  return isStepUp ? userBySubject(interaction.session?.accountId) : undefined
}

async function rememberPassword(interaction: Interaction, user: SampleUser): Promise<void> {
  Object.assign(interaction, { lastSubmission: { passwordOf: user.subject } })
  await interaction.save(Math.max(1, interaction.exp - Math.floor(Date.now() / 1_000)))
}

function finish(
  step: Step,
  user: SampleUser,
  context: { acr: string; amr: string[] },
): Promise<void> {
  const login = { accountId: user.subject, ...context }
  const { provider, req, res } = step
  return provider.interactionFinished(req, res, { login }, { mergeWithLastSubmission: false })
}

const wrongPassword: Problem = {
  heading: 'That user name and password do not match.',
  body: 'The user name is the whole address, such as alice@sallyport.example.',
}

function tooManyAttempts(res: ServerResponse, wait: number): Problem {
  res.setHeader('retry-after', wait)
  return {
    heading: 'Too many wrong answers for this user.',
    body: `Wait ${wait} ${wait === 1 ? 'second' : 'seconds'} and try again.`,
  }
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > formBytes) throw new FormTooLong()
    chunks.push(chunk)
  }
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

function action(step: Step, stage: 'password' | 'code'): string {
  return `/interaction/${step.interaction.uid}/${stage}`
}

function send(res: ServerResponse, status: number, page: string): void {
  res.writeHead(status, pageHeaders).end(page)
}
