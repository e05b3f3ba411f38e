/** The handbook's pages, one function each, from a visit to an answer. */

import { type Html, html } from '../../page-html.ts'
import type { Visit } from '../sample-web.ts'
import { company, excerpt, findGuide, guides } from './content.ts'
import type { Feedback } from './feedback.ts'
import type { FileShelf } from './files.ts'
import { sendPage, sendProblem } from './frame.ts'
import type { Station } from './station.ts'

export function welcome(visit: Visit): void {
  const body = html`<h1>How we work at ${company}</h1>
<p class="summary">Barometers, wind gauges and the people who make them, since 1962.</p>
<p>Everything that you would otherwise have to ask somebody for. If something is missing or wrong, <a href="feedback">say so</a>: whoever reads it first corrects it.</p>
<ul class="guides">${guides.map(
    ({ slug, title, summary }) =>
      html`<li><a href="guides/${slug}">${title}</a><span>${summary}</span></li>`,
  )}</ul>
<p>The wind on the roof right now is on <a href="live">the roof station's page</a>. The handbook of 2019 has moved in here: <a href="/2019/travel">its travel page</a> still finds its way.</p>`
  sendPage(visit, { title: 'Welcome', body })
}

export function guide(visit: Visit): void {
  const found = findGuide(visit.rest)
  if (!found) return sendProblem(visit, 404)
  const { title, summary, body } = found
  sendPage(visit, { title, body: html`<h1>${title}</h1><p class="summary">${summary}</p>${body}` })
}

export function search(visit: Visit): void {
  const query = (visit.url.searchParams.get('q') ?? '').trim().slice(0, 100)
  const hits = query === '' ? [] : guides.flatMap(it => hit(it, query))
  const found = hits.length === 1 ? '1 guide' : `${hits.length} guides`
  const body = html`<h1>Search</h1>
<form class="stack" action="/search" method="get"><label>Words<input type="search" name="q" value="${query}"></label><button>Search</button></form>
${query !== '' && html`<p>${found} with “${query}”</p>`}<ul class="guides">${hits}</ul>`
  sendPage(visit, { title: 'Search', body })
}

function hit(found: (typeof guides)[number], query: string): Html[] {
  const part = excerpt(found, query)
  if (!part) return []
  return [
    html`<li><a href="/guides/${found.slug}">${found.title}</a><span>… ${part.before}<mark>${part.hit}</mark>${part.after} …</span></li>`,
  ]
}

export function feedbackPage(visit: Visit, feedback: Feedback, problem?: string): void {
  const wasSent = visit.url.searchParams.has('sent')
  const body = html`<h1>Feedback</h1><p class="summary">What is missing, wrong, or simply good.</p>
${wasSent && html`<p class="said" role="status">Thank you, it stands below.</p>`}${problem && html`<p class="said" role="alert">${problem}</p>`}
<form class="stack" action="feedback" method="post"><label>Your name<input type="text" name="name" maxlength="80" autocomplete="name"></label>
<label>What you want to say<textarea name="message" rows="4" maxlength="2000"></textarea></label><button>Send</button></form>
${feedback
  .list()
  .map(
    ({ name, message, at }) =>
      html`<section class="entry"><b>${name}</b> <small>${minute(at)}</small><p>${message}</p></section>`,
  )}`
  sendPage(visit, { title: 'Feedback', body, status: problem ? 422 : 200 })
}

export function filesPage(visit: Visit, shelf: FileShelf, problem?: string): void {
  const files = shelf
    .list()
    .map(
      ({ name, bytes, sha256, storedAt }) =>
        html`<section class="entry"><a href="files/${encodeURIComponent(name)}">${name}</a> <small>${bytes.length.toLocaleString('en')} bytes, stored ${minute(storedAt)}</small><br><small>SHA-256</small> <code>${sha256}</code></section>`,
    )
  const body = html`<h1>Files</h1><p class="summary">Claims, notes and drawings. Up to 32 MB each.</p>
${problem && html`<p class="said" role="alert">${problem}</p>`}
<form class="stack" action="files" method="post" enctype="multipart/form-data"><label>A file from your computer<input type="file" name="file"></label><button>Upload</button></form>
${files}`
  sendPage(visit, { title: 'Files', body, status: problem ? 422 : 200 })
}

function minute(moment: Date): string {
  return `${moment.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

export function livePage(visit: Visit, station: Station): void {
  const { count, time, temperature, pressure, wind } = station.latest()
  const body = html`<h1>Roof station</h1><p class="summary">One reading a second, sent as it is taken.</p>
<div class="dials"><div><b id="wind">${wind.toFixed(1)} m/s</b><span>Wind</span></div>
<div><b id="temperature">${temperature.toFixed(1)} °C</b><span>Temperature</span></div>
<div><b id="pressure">${pressure.toFixed(1)} hPa</b><span>Pressure</span></div>
<div><b id="clock">${time.slice(11, 19)}</b><span>Clock of the station, UTC</span></div></div>
<dl><dt>Connection</dt><dd id="state">as of when you opened the page</dd><dt>Reading number</dt><dd id="count">${count}</dd><dt>Received here</dt><dd id="received">0</dd></dl>
<noscript><p>Your browser runs no scripts: <a href="live">take a new reading</a>.</p></noscript>`
  sendPage(visit, { title: 'Roof station', body, script: '/live.js' })
}

/** The request as it arrived, for whoever publishes the application. JSON for programs. */
export function requestPage(visit: Visit): void {
  const { req, res } = visit
  const pairs = req.rawHeaders.flatMap((name, index, raw) =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as const] : [],
  )
  const { method, url, httpVersion, socket } = req
  if (/\bjson\b/.test(req.headers.accept ?? '')) {
    const facts = { method, target: url, httpVersion, peer: socket.remoteAddress, headers: pairs }
    res.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    return void res.end(`${JSON.stringify(facts, null, 2)}\n`)
  }
  const rows = pairs.map(
    ([name, value]) => html`<tr><th scope="row">${name}</th><td class="mono">${value}</td></tr>`,
  )
  const body = html`<h1>Your request</h1><p class="summary">As the handbook received it, header by header.</p>
<dl><dt>Request</dt><dd class="mono">${method} ${url} HTTP/${httpVersion}</dd><dt>From</dt><dd class="mono">${socket.remoteAddress}</dd></dl>
<div class="scroll"><table><tbody>${rows}</tbody></table></div>`
  sendPage(visit, { title: 'Your request', body })
}
