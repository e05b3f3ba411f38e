/** Every page of the embedded identity provider, in the design of infra/page.ts; each works without script. */

import {
  alert,
  buttons,
  card,
  errorPage,
  facts,
  field,
  form,
  type Html,
  html,
  linkButton,
  renderPage,
  submitButton,
} from '../../page.ts'
import { sampleUsers } from './users.ts'

const footer = 'Embedded identity provider of Sallyport: for trying out only, never for production.'

export interface Problem {
  heading: string
  body?: string
}

export function passwordPage(options: {
  action: string
  name?: string
  problem?: Problem
}): string {
  const { action, name = '', problem } = options
  const isInvalid = problem !== undefined
  const fields = [
    field({
      label: 'User name',
      name: 'username',
      value: name,
      autocomplete: 'username',
      inputmode: 'email',
      isInvalid,
      autofocus: name === '',
    }),
    field({
      label: 'Password',
      name: 'password',
      type: 'password',
      autocomplete: 'current-password',
      isInvalid,
      autofocus: name !== '',
    }),
    submitButton('Sign in'),
  ]
  return doorway('Sign in', [
    card(
      html`<h1>Sign in</h1>`,
      html`<p class="lead">to use the applications of your private network.</p>`,
      problemAlert(problem),
      form({ action, body: fields }),
    ),
    sampleUserNote(),
  ])
}

export function codePage(options: { action: string; name: string; problem?: Problem }): string {
  const { action, name, problem } = options
  const code = field({
    label: 'One-time code',
    name: 'code',
    autocomplete: 'one-time-code',
    inputmode: 'numeric',
    hint: 'Six digits. With a real provider they come from your authenticator.',
    isInvalid: problem !== undefined,
    autofocus: true,
  })
  return doorway('Confirm that it is you', [
    card(
      html`<h1>Confirm that it is you</h1>`,
      html`<p class="lead">${name} has to give a second factor here.</p>`,
      problemAlert(problem),
      form({ action, body: [code, submitButton('Continue')] }),
    ),
    sampleCodeNote(),
  ])
}

export function signOutPage(options: { action: string; xsrf: string; name: string }): string {
  const choices = buttons(
    submitButton('Sign out', { name: 'logout', value: 'yes' }),
    linkButton('Stay signed in', '/', 'secondary'),
  )
  const { action, xsrf, name } = options
  return doorway('Sign out', [
    card(
      html`<h1>Do you want to sign out?</h1>`,
      html`<p class="lead">${name} is signed in here. Signing out ends the session in every application.</p>`,
      form({ action, hidden: { xsrf }, body: choices }),
    ),
  ])
}

export function signedOutPage(): string {
  return doorway('Signed out', [
    card(
      html`<h1>You are signed out</h1>`,
      html`<p class="lead">Close the browser if others use this computer.</p>`,
    ),
  ])
}

export function aboutPage(issuer: string): string {
  const discovery = `${issuer}/.well-known/openid-configuration`
  return doorway('Identity provider', [
    card(
      html`<h1>Embedded identity provider</h1>`,
      html`<p class="lead">An OpenID provider that “sallyport up” brings along, so that you can try Sallyport without one of your own. There is nothing to do here: open an application or the portal, and it sends you here to sign in.</p>`,
      html`<div class="advice"><h2>Use your own provider</h2><p>Start Sallyport with <code>--identity-provider https://…</code> and <code>--client-id</code>.</p></div>`,
      facts([
        { term: 'Issuer', value: issuer, mono: true },
        { term: 'Discovery', value: html`<a href="${discovery}">openid-configuration</a>` },
      ]),
    ),
    sampleUserNote(),
  ])
}

export function failurePage(failure: {
  status: number
  code: string
  title: string
  advice: string
  supportId: string
}): string {
  return errorPage({ ...failure, time: new Date() })
}

function doorway(title: string, body: Html[]): string {
  return renderPage({ title, body, layout: 'gate', footer })
}

function problemAlert(problem: Problem | undefined): Html | undefined {
  return problem && alert({ tone: 'bad', ...problem })
}

function sampleUserNote(): Html {
  const people = sampleUsers.map(
    ({ name, password, groups }) =>
      html`<li><code>${name}</code><code>${password}</code><small>${groups.join(', ')}</small></li>`,
  )
  return html`<section class="note"><h2>Sample users and their passwords</h2><p>This provider is for trying out only: everybody who reads this page can sign in as any of them.</p><ul class="people">${people}</ul></section>`
}

function sampleCodeNote(): Html {
  const people = sampleUsers.map(
    ({ name, code }) => html`<li><code>${name}</code><code>${code}</code></li>`,
  )
  return html`<section class="note"><h2>Sample codes</h2><ul class="people">${people}</ul></section>`
}
