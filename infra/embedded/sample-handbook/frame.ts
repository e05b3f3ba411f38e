/** What every page of the handbook has around it: crest, search, contents, who is reading, the theme's switch. */

import { type Html, html, type Interpolation } from '../../page-html.ts'
import { cookieValue, type Visit, visitorName } from '../sample-web.ts'
import { company, guides } from './content.ts'

const themeCookie = 'handbook_theme'
const visitsCookie = 'handbook_visits'

export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'self'",
  'x-content-type-options': 'nosniff',
}

export interface HandbookPage {
  title: string
  body: Interpolation
  status?: number
  script?: string
}

export function sendPage(visit: Visit, page: HandbookPage): void {
  const { req, res, url } = visit
  const isNight = cookieValue(req, themeCookie) === 'night'
  const visits = countVisits(visit)
  const markup = html`<html lang="en" class="${isNight ? 'night' : 'paper'}">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${page.title} – ${company}</title><link rel="icon" href="/crest.svg"><link rel="stylesheet" href="/style.css">${
    page.script && html`<script src="${page.script}" defer></script>`
  }</head>
<body>
<header><img src="/crest.svg" alt="" width="50" height="50"><a class="name" href="/">${company}<small>The handbook</small></a>
<form action="/search" method="get" role="search"><input type="search" name="q" aria-label="Search the handbook" placeholder="Search"><button>Search</button></form>
<p class="who">${greeting(visit)}</p></header>
<div class="cols">${contents(url.pathname)}<main><article>${page.body}</article></main></div>
<footer><span>Page view ${visits}</span><a href="${url.origin}${url.pathname}">Link to this page</a>${themeForm(isNight, url.pathname)}</footer>
</body></html>`
  res.writeHead(page.status ?? 200, pageHeaders).end(`<!doctype html>\n${markup}\n`)
}

export function sendProblem(visit: Visit, status: number): void {
  const [title, text] = problems[status] ?? ['Something broke', 'The page could not be made.']
  sendPage(visit, { title, status, body: html`<h1>${title}</h1><p>${text}</p>` })
}

const problems: Record<number, [string, string]> = {
  404: ['No such page', 'Maybe it was renamed. The contents beside have everything that there is.'],
  405: ['Not like this', 'This page does not take what was sent to it.'],
  413: ['Too large', 'A file may have 32 MB, a form much less.'],
}

/** Sets the theme and goes back to the page from which it was chosen. */
export function sendTheme(visit: Visit, fields: URLSearchParams): void {
  const theme = fields.get('theme') === 'night' ? 'night' : 'paper'
  const back = fields.get('page') ?? '/'
  visit.res
    .writeHead(303, {
      location: /^\/(?![/\\])/.test(back) ? back : '/',
      'set-cookie': `${themeCookie}=${theme}; Path=/; Max-Age=31536000; SameSite=Lax`,
    })
    .end()
}

/**
 * The counter's cookie names the host that the application takes for its own, as older software does: whoever
 * publishes the application under another name has to translate it.
 */
function countVisits({ req, res }: Visit): number {
  const visits = Math.min(99_999, (Number(cookieValue(req, visitsCookie)) || 0) + 1)
  const host = URL.parse(`http://${req.headers.host}`)?.hostname ?? '127.0.0.1'
  res.setHeader(
    'set-cookie',
    `${visitsCookie}=${visits}; Path=/; Domain=${host}; HttpOnly; SameSite=Lax`,
  )
  return visits
}

function greeting({ req }: Visit): Interpolation {
  const name = visitorName(req)
  return name === undefined
    ? 'Reading as a guest: no header says who you are.'
    : html`Reading as <b>${name}</b>`
}

function contents(path: string): Html {
  const entry = (href: string, title: string) =>
    html`<li><a href="${href}"${path === href && html` aria-current="page"`}>${title}</a></li>`
  return html`<nav aria-label="Contents"><h2>Guides</h2><ol>${guides.map(({ slug, title }) =>
    entry(`/guides/${slug}`, title),
  )}</ol><h2>Together</h2><ul>${[
    entry('/live', 'Roof station'),
    entry('/files', 'Files'),
    entry('/feedback', 'Feedback'),
    entry('/request', 'Your request'),
  ]}</ul></nav>`
}

function themeForm(isNight: boolean, path: string): Html {
  const [theme, label] = isNight ? ['paper', 'Day'] : ['night', 'Night']
  return html`<form action="/theme" method="post"><input type="hidden" name="page" value="${path}"><button class="plain" name="theme" value="${theme}">${label}</button></form>`
}
