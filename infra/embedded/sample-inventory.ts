/**
 * A stock list as a JSON API: pages of items, optimistic locking by ETag and If-Match, errors as problem+json
 * (RFC 9457). A person who opens it in a browser gets a page that lists the parts and says how to use it.
 */

import { z } from 'zod'
import {
  Item,
  ItemPatch,
  openStock,
  type Stock,
  type StoredItem,
} from './sample-inventory/items.ts'
import { openApi } from './sample-inventory/openapi.ts'
import { overview } from './sample-inventory/overview.ts'
import {
  header,
  type Routes,
  readBody,
  type SampleServer,
  serveSample,
  type Visit,
  visitorName,
} from './sample-web.ts'

const bodyBytes = 64 * 1_024

export function startInventory(port: number): Promise<SampleServer> {
  const stock = openStock()
  return serveSample({
    port,
    fail: (visit, status) => sendProblem(visit, status, failures[status] ?? 'The request failed.'),
    routes: {
      'GET /': visit => overview(visit, stock.list()),
      'GET /openapi.json': visit => sendJson(visit, 200, openApi),
      'GET /whoami': visit => sendJson(visit, 200, whoami(visit)),
      'GET /items': visit => list(visit, stock),
      'POST /items': visit => create(visit, stock),
      ...itemRoutes(stock),
    },
  })
}

const failures: Record<number, string> = {
  404: 'There is nothing at this address. /openapi.json lists what there is.',
  405: 'This method cannot be used here. /openapi.json lists those that can.',
  413: 'A body may have 64 KB at most.',
}

function itemRoutes(stock: Stock): Routes {
  const found = (visit: Visit) => stock.find(visit.rest)
  return {
    'GET /items/*'(visit) {
      const item = found(visit)
      if (!item) return sendProblem(visit, 404, `There is no item ${visit.rest}.`)
      if (visit.req.headers['if-none-match'] === etagOf(item))
        return void visit.res.writeHead(304, { etag: etagOf(item) }).end()
      sendItem(visit, 200, item)
    },
    'PUT /items/*': visit => change(visit, stock, Item, (_old, item) => item),
    'PATCH /items/*': visit => change(visit, stock, ItemPatch, patched),
    'DELETE /items/*'(visit) {
      const item = changeable(visit, stock)
      if (!item) return
      stock.remove(item.id)
      visit.res.writeHead(204).end()
    },
  }
}

function list(visit: Visit, stock: Stock): void {
  const Paging = z.object({
    limit: z.coerce.number().int().min(1).max(100).default(10),
    offset: z.coerce.number().int().min(0).max(1_000_000).default(0),
  })
  const paging = Paging.safeParse(Object.fromEntries(visit.url.searchParams))
  if (!paging.success) return sendProblem(visit, 400, z.prettifyError(paging.error))
  const { limit, offset } = paging.data
  const all = stock.list()
  const links = [
    offset > 0 && link(visit, { limit, offset: Math.max(0, offset - limit) }, 'prev'),
    offset + limit < all.length && link(visit, { limit, offset: offset + limit }, 'next'),
  ].filter(it => it !== false)
  if (links.length > 0) visit.res.setHeader('link', links.join(', '))
  sendJson(visit, 200, {
    items: all.slice(offset, offset + limit),
    total: all.length,
    limit,
    offset,
  })
}

function link(visit: Visit, page: { limit: number; offset: number }, relation: string): string {
  const url = new URL('/items', visit.url)
  url.search = new URLSearchParams({ limit: `${page.limit}`, offset: `${page.offset}` }).toString()
  return `<${url.href}>; rel="${relation}"`
}

async function create(visit: Visit, stock: Stock): Promise<void> {
  const item = await parseBody(visit, Item)
  if (!item) return
  const stored = stock.add(item)
  if (!stored) return sendProblem(visit, 507, 'The list is full. Remove something first.')
  visit.res.setHeader('location', `/items/${stored.id}`)
  sendItem(visit, 201, stored)
}

async function change<T>(
  visit: Visit,
  stock: Stock,
  schema: z.ZodType<T>,
  merge: (old: StoredItem, given: T) => Item,
): Promise<void> {
  const given = await parseBody(visit, schema)
  if (given === undefined) return
  // Only now: while the body was read, somebody else may have changed the item.
  const old = changeable(visit, stock)
  if (old) sendItem(visit, 200, stock.replace(old.id, merge(old, given)))
}

function patched(old: StoredItem, { note, ...given }: z.output<typeof ItemPatch>): Item {
  const { id: _id, version: _version, note: oldNote, ...rest } = old
  const kept = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const newNote = note === undefined ? oldNote : note
  return { ...rest, ...kept, ...(typeof newNote === 'string' && { note: newNote }) }
}

/** The item if it exists and is the one that the writer read; otherwise the refusal is already sent. */
function changeable(visit: Visit, stock: Stock): StoredItem | undefined {
  const item = stock.find(visit.rest)
  const expected = visit.req.headers['if-match']
  if (!item) sendProblem(visit, 404, `There is no item ${visit.rest}.`)
  else if (expected === undefined)
    sendProblem(
      visit,
      428,
      'Send If-Match with the ETag that you read, so that no change gets lost.',
    )
  else if (expected !== '*' && !expected.split(/\s*,\s*/).includes(etagOf(item)))
    sendProblem(visit, 412, `The item has changed meanwhile. Its ETag is ${etagOf(item)} now.`)
  else return item
  return undefined
}

async function parseBody<T>(visit: Visit, schema: z.ZodType<T>): Promise<T | undefined> {
  const bytes = await readBody(visit.req, bodyBytes)
  if (!/^application\/(?:[\w.-]+\+)?json\b/.test(header(visit.req, 'content-type') ?? '')) {
    sendProblem(visit, 415, 'Send application/json.')
    return undefined
  }
  const parsed = schema.safeParse(jsonIn(bytes))
  if (parsed.success) return parsed.data
  sendProblem(visit, 400, z.prettifyError(parsed.error))
  return undefined
}

function jsonIn(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    // No schema accepts undefined, so text that is not JSON is refused as what it is not.
    return undefined
  }
}

function whoami({ req, url }: Visit): object {
  return {
    user: visitorName(req) ?? null,
    address: header(req, 'x-forwarded-for') ?? req.socket.remoteAddress ?? null,
    host: url.host,
    requestId: header(req, 'x-request-id') ?? null,
  }
}

function etagOf(item: StoredItem): string {
  return `"${item.id}-${item.version}"`
}

function sendItem(visit: Visit, status: number, item: StoredItem): void {
  visit.res.setHeader('etag', etagOf(item))
  sendJson(visit, status, item)
}

function sendJson({ res }: Visit, status: number, body: object): void {
  res.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-cache' })
  res.end(`${JSON.stringify(body)}\n`)
}

function sendProblem({ res }: Visit, status: number, detail: string): void {
  const title = titles[status] ?? 'The request failed'
  res.writeHead(status, { 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
  res.end(`${JSON.stringify({ type: 'about:blank', title, status, detail })}\n`)
}

const titles: Record<number, string> = {
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  428: 'Precondition Required',
  507: 'Insufficient Storage',
}
