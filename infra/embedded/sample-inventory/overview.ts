/** The page that a person sees at the stock list's address: what lies where, and how programs get at it. */

import { html } from '../../page-html.ts'
import { type Visit, visitorName } from '../sample-web.ts'
import type { StoredItem } from './items.ts'

const shownItems = 100

export function overview({ req, res, url }: Visit, items: StoredItem[]): void {
  const user = visitorName(req)
  const rows = items
    .slice(0, shownItems)
    .map(
      ({ id, name, quantity, shelf }) =>
        html`<tr><td>${shelf}</td><td><a href="/items/${id}">${name}</a></td><td class="n${quantity < 40 ? ' low' : ''}">${quantity.toLocaleString('en')}</td></tr>`,
    )
  const page = html`<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Inventory</title><link rel="icon" href="data:,"><style>${style}</style></head><body>
<header><b>INVENTORY</b><span>${items.length} parts</span><span>${user ?? 'no user named'}</span></header>
<main><h1>What lies where</h1><table><thead><tr><th>Shelf</th><th>Part</th><th class="n">Pieces</th></tr></thead><tbody>${rows}</tbody></table>
<h2>For programs</h2><pre tabindex="0">curl ${url.origin}/items?limit=5
curl ${url.origin}/items/1
curl ${url.origin}/whoami</pre><p>All of it: <a href="/openapi.json">openapi.json</a>. Changes need <code>If-Match</code>.</p></main></body></html>`
  res.writeHead(200, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  res.end(`<!doctype html>\n${page}\n`)
}

const style = html`
:root{color-scheme:light dark;--b:light-dark(#fff,#0c0f14);--i:light-dark(#10151d,#dfe6f0);--s:light-dark(#55606f,#93a0b2);--l:light-dark(#d5dbe3,#252c37);--a:light-dark(#0b4fd1,#86b1ff)}
*{box-sizing:border-box}body{margin:0;background:var(--b);color:var(--i);font:15px/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
header{display:flex;flex-wrap:wrap;gap:4px 28px;padding:12px max(16px,calc(50vw - 420px));background:var(--i);color:var(--b)}header b{letter-spacing:.14em}
main{max-width:840px;margin:0 auto;padding:28px 16px 60px}h1{font-size:22px;margin:0 0 18px}h2{font-size:16px;margin:34px 0 8px}
table{width:100%;border-collapse:collapse}th{color:var(--s);font-weight:400;overflow-wrap:normal}th,td{text-align:left;padding:7px 12px 7px 0;border-bottom:1px solid var(--l)}
.n{text-align:right;padding-right:0;font-variant-numeric:tabular-nums;white-space:nowrap}.low{font-weight:700}.low::before{content:"low "}
a{color:var(--a)}pre{overflow-x:auto;padding:12px;border:1px solid var(--l)}:focus-visible{outline:2px solid var(--a);outline-offset:2px}`
