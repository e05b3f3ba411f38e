/**
 * A company handbook as many stand in private networks: pages with links of every kind, forms, cookies, files, a
 * live view. It believes that its visitors are let in by somebody else and shows what it was told about them.
 */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { openFeedback } from './sample-handbook/feedback.ts'
import { fileInForm, maxFileBytes, openShelf, type StoredFile } from './sample-handbook/files.ts'
import { sendProblem, sendTheme } from './sample-handbook/frame.ts'
import * as pages from './sample-handbook/pages.ts'
import { startStation } from './sample-handbook/station.ts'
import {
  type Handler,
  type Routes,
  readBody,
  type SampleServer,
  serveSample,
  type Visit,
} from './sample-web.ts'

const formBytes = 16 * 1_024

export async function startHandbook(port: number): Promise<SampleServer> {
  await using stack = new AsyncDisposableStack()
  const station = stack.use(startStation())
  const server = stack.use(
    await serveSample({
      port,
      fail: sendProblem,
      routes: {
        'GET /': pages.welcome,
        'GET /guides/*': pages.guide,
        'GET /search': pages.search,
        'GET /live': visit => pages.livePage(visit, station),
        'GET /live/events': ({ res }) => station.watch(res),
        'GET /request': pages.requestPage,
        'GET /2019/*': moved,
        'POST /theme': async visit => sendTheme(visit, await formFields(visit)),
        'GET /style.css': staticFile('style.css', 'text/css; charset=utf-8'),
        'GET /crest.svg': staticFile('crest.svg', 'image/svg+xml'),
        'GET /live.js': staticFile('live.js', 'text/javascript; charset=utf-8'),
        ...feedbackRoutes(),
        ...fileRoutes(),
      },
    }),
  )
  const running = stack.move()
  return { url: server.url, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

function feedbackRoutes(): Routes {
  const feedback = openFeedback()
  return {
    'GET /feedback': visit => pages.feedbackPage(visit, feedback),
    async 'POST /feedback'(visit) {
      const problem = feedback.add(await formFields(visit))
      if (problem !== undefined) return pages.feedbackPage(visit, feedback, problem)
      visit.res.writeHead(303, { location: '/feedback?sent' }).end()
    },
  }
}

function fileRoutes(): Routes {
  const shelf = openShelf()
  return {
    'GET /files': visit => pages.filesPage(visit, shelf),
    async 'POST /files'(visit) {
      const body = await readBody(visit.req, maxFileBytes + formBytes)
      const file = await fileInForm(body, visit.req.headers['content-type'] ?? '')
      if (!file) return pages.filesPage(visit, shelf, 'No file came with it. Choose one first.')
      shelf.put(file)
      visit.res.writeHead(303, { location: '/files' }).end()
    },
    'GET /files/*'(visit) {
      const file = shelf.find(nameIn(visit))
      if (!file) return sendProblem(visit, 404)
      sendFile(visit, file)
    },
    /** For programs: the body is the file, the answer says what arrived. */
    async 'PUT /files/*'(visit) {
      const bytes = await readBody(visit.req, maxFileBytes)
      const type = visit.req.headers['content-type'] ?? 'application/octet-stream'
      const { name, sha256 } = shelf.put({ name: nameIn(visit), type, bytes })
      visit.res.writeHead(201, { 'content-type': 'application/json' })
      visit.res.end(JSON.stringify({ name, bytes: bytes.length, sha256 }))
    },
  }
}

function nameIn({ rest }: Visit): string {
  try {
    return decodeURIComponent(rest)
  } catch {
    // Not percent-encoded text: then no file has such a name, and none should get it.
    return 'unnamed'
  }
}

/** Always an attachment of an opaque type: what somebody uploaded must not run as a page of the handbook. */
function sendFile({ res }: Visit, file: StoredFile): void {
  res.writeHead(200, {
    'content-type': 'application/octet-stream',
    'content-length': file.bytes.length,
    'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    etag: `"${file.sha256}"`,
  })
  res.end(file.bytes)
}

/** The old handbook's addresses lead here, by the only name that this application has for itself. */
function moved({ req, res, rest }: Visit): void {
  const { localAddress, localPort } = req.socket
  res.writeHead(302, { location: `http://${localAddress}:${localPort}/guides/${rest}` }).end()
}

function staticFile(name: string, type: string): Handler {
  const text = readFileSync(new URL(`./sample-handbook/static/${name}`, import.meta.url))
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 16)}"`
  const headers = { 'content-type': type, 'cache-control': 'max-age=300', etag }
  return ({ req, res }) => {
    if (req.headers['if-none-match'] === etag) res.writeHead(304, headers).end()
    else res.writeHead(200, headers).end(text)
  }
}

async function formFields({ req }: Visit): Promise<URLSearchParams> {
  return new URLSearchParams((await readBody(req, formBytes)).toString())
}
