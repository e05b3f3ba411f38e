/**
 * The design of Sallyport's own pages, for gateway and embedded identity provider: one frame, one stylesheet, no
 * script, no request for anything else. Send each page with `pageHeaders`.
 * The policy has no form-action: Chromium applies it to the redirects after a form post, and signing in and out
 * ends on other hosts of ours. The referrer policy is same-origin because "no-referrer" would make a page's own
 * form posts say "Origin: null", which the gateway refuses.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Html, html, type Interpolation } from './page-html.ts'
import { buttons, card, type Fact, facts, type Hop, route, time } from './page-parts.ts'

export { Html, html, type Interpolation } from './page-html.ts'
export {
  type ApplicationTile,
  alert,
  applicationTiles,
  buttons,
  card,
  emptyState,
  type Fact,
  type Field,
  facts,
  field,
  form,
  type Hop,
  intro,
  linkButton,
  route,
  submitButton,
  type Tone,
  time,
} from './page-parts.ts'

const stylesheet = readFileSync(new URL('./page.css', import.meta.url), 'utf8')
const styleHash = createHash('sha256').update(stylesheet).digest('base64')

export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${styleHash}'; img-src data:; base-uri 'none'; frame-ancestors 'none'`,
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
} as const satisfies Record<string, string>

export interface Page {
  /** Names the browser's tab; "· Sallyport" is added. */
  title: string
  body: Interpolation
  /** `gate` and `roomy-gate` put one card into the doorway; `wide` is for lists. */
  layout?: 'wide' | 'gate' | 'roomy-gate'
  /** Right end of the top bar: who is signed in, the sign-out form. */
  actions?: Interpolation
  /** Where the word mark leads; without it, it is plain text. */
  homeUrl?: string | undefined
  footer?: Interpolation
}

export function renderPage(page: Page): string {
  const { layout = 'wide' } = page
  const main = html`<main id="content">${page.body}</main>`
  const gateClass = layout === 'roomy-gate' ? 'gate roomy' : 'gate'
  return `<!doctype html>
${html`<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${page.title} · Sallyport</title>
<link rel="icon" href="${icon}">
<style>${style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to content</a>
<header class="top">${brand(page.homeUrl)}${page.actions && html`<div class="actions">${page.actions}</div>`}</header>
${layout === 'wide' ? main : html`<div class="${gateClass}">${main}</div>`}
<footer class="foot">${page.footer ?? 'Sallyport publishes the applications of a private network.'}</footer>
</body>
</html>
`}`
}

export interface ErrorPage {
  status: number
  /** The fault's code, title and advice (infra/errors.ts). */
  code: string
  title: string
  advice: string
  /** Why, as far as the person may know it: a policy's reasons, for instance. */
  reasons?: readonly string[]
  supportId: string
  time: Date
  /** Draws how far the request came; left out when nothing was on its way yet. */
  failedAt?: Hop
  /** Buttons: try again, open the portal. */
  actions?: readonly Html[]
  homeUrl?: string | undefined
}

/** What a person sees in place of an application: what happened, how far it came, what to do, what to tell. */
export function errorPage(error: ErrorPage): string {
  const known: Fact[] = [
    { term: 'Support id', value: error.supportId, mono: true },
    { term: 'Time', value: time(error.time) },
  ]
  const body = card(
    html`<p class="code mono"><b>${error.status}</b>${error.code}</p>`,
    html`<h1>${error.title}</h1>`,
    error.reasons?.length &&
      html`<ul class="lead">${error.reasons.map(why => html`<li>${why}</li>`)}</ul>`,
    error.failedAt && route(error.failedAt),
    html`<div class="advice"><h2>What you can do</h2><p>${error.advice}</p></div>`,
    error.actions?.length && buttons(error.actions),
    facts(known),
  )
  return renderPage({
    title: error.title.replace(/\.$/, ''),
    body,
    layout: 'roomy-gate',
    homeUrl: error.homeUrl,
  })
}

const style = new Html(stylesheet)

/** A postern: the wall's arch, the lit opening, and the door's leaf ajar. */
const arch = 'M3 30V15a13 13 0 0 1 26 0v15z'
const opening = 'M9.5 30V15.5a6.5 6.5 0 0 1 13 0V30z'
const leaf = 'M9.5 30V15.5a6.5 6.5 0 0 1 4.5-6.2l3.2 3.4V27z'

const mark = html`<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path class="wall" d="${arch}"/><path class="light" d="${opening}"/><path class="leaf" d="${leaf}"/></svg>`

const icon = `data:image/svg+xml,${encodeURIComponent(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><path fill="#0f5f52" d="${arch}"/><path fill="#e3b057" d="${opening}"/><path fill="#f3f1ea" d="${leaf}"/></svg>`,
)}`

function brand(homeUrl: string | undefined): Html {
  const words = html`${mark}<span>Sallyport</span>`
  if (homeUrl === undefined) return html`<span class="brand">${words}</span>`
  return html`<a class="brand" href="${homeUrl}">${words}</a>`
}
