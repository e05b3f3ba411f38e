/**
 * What the sample applications share: a server on loopback, a table of routes, bodies of bounded length, and the
 * forwarded headers as any application behind a proxy reads them. Nothing here knows Sallyport.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Visit {
  req: IncomingMessage
  res: ServerResponse
  /** The address as the visitor sees it, as far as the forwarded headers tell. */
  url: URL
  /** The rest of the path, for routes that end with a slash and a star. */
  rest: string
}

export type Handler = (visit: Visit) => void | Promise<void>

/** `GET /path` or `GET /path/*`; the exact path wins. */
export type Routes = Readonly<Record<string, Handler>>

export class TooLong extends Error {}

export interface SampleServer extends AsyncDisposable {
  /** As the connector reaches it: `http://127.0.0.1:PORT/`. */
  readonly url: string
}

export async function serveSample(options: {
  port: number
  routes: Routes
  fail: (visit: Visit, status: number) => void
}): Promise<SampleServer> {
  const server = createServer({ keepAliveTimeout: 65_000, requestTimeout: 120_000 })
  server.maxConnections = 1_000
  server.on('request', (req, res) => {
    const visit = visitOf(req, res)
    answer(visit, options).catch(() => res.destroy())
  })
  const port = await listen(server, options.port)
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => close(server),
  }
}

async function answer(
  visit: Visit,
  { routes, fail }: { routes: Routes; fail: (visit: Visit, status: number) => void },
): Promise<void> {
  try {
    const found = find(visit, routes)
    if (typeof found === 'number') fail(visit, found)
    else await found(visit)
  } catch (error) {
    if (visit.res.headersSent) return void visit.res.destroy()
    // The rest of the body is still on its way, and nobody is going to read it.
    visit.res.setHeader('connection', 'close')
    fail(visit, error instanceof TooLong ? 413 : 500)
  }
}

function find(visit: Visit, routes: Routes): Handler | number {
  const path = visit.url.pathname
  const method = visit.req.method === 'HEAD' ? 'GET' : (visit.req.method ?? 'GET')
  const exact = routes[`${method} ${path}`]
  if (exact) return exact
  const cut = path.indexOf('/', 1) + 1
  const parent = cut > 0 ? `${path.slice(0, cut)}*` : path
  visit.rest = cut > 0 ? path.slice(cut) : ''
  const below = visit.rest === '' ? undefined : routes[`${method} ${parent}`]
  if (below) return below
  const isElse = Object.keys(routes).some(key => [path, parent].includes(key.split(' ')[1] ?? ''))
  return isElse ? 405 : 404
}

function visitOf(req: IncomingMessage, res: ServerResponse): Visit {
  const scheme = header(req, 'x-forwarded-proto') === 'https' ? 'https' : 'http'
  const host = header(req, 'x-forwarded-host') ?? req.headers.host ?? 'localhost'
  const base = URL.parse(`${scheme}://${host}`) ?? new URL('http://localhost')
  const url = URL.parse(`${base.origin}${req.url ?? '/'}`) ?? base
  return { req, res, url, rest: '' }
}

/** The first value of a request header; several values count as the first of them. */
export function header(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name]
  return (Array.isArray(value) ? value[0] : value)?.split(',')[0]?.trim() || undefined
}

/** Names under which proxies tell an application who is there, the most telling first. */
const userHeaders = [
  'x-forwarded-preferred-username',
  'x-forwarded-user',
  'x-forwarded-email',
  'sallyport-user',
  'x-sallyport-user',
  'x-remote-user',
  'remote-user',
]

/** Who is there, if the proxy in front says so. An application of its own would have to trust that proxy alone. */
export function visitorName(req: IncomingMessage): string | undefined {
  for (const name of userHeaders) {
    const value = header(req, name)
    if (value !== undefined) return value.slice(0, 256)
  }
  return undefined
}

export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw new TooLong()
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw new TooLong()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export function cookieValue(req: IncomingMessage, name: string): string | undefined {
  const pair = (req.headers.cookie ?? '')
    .split(/;\s*/)
    .find(candidate => candidate.startsWith(`${name}=`))
  return pair?.slice(name.length + 1)
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
