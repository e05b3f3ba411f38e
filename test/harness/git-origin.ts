/**
 * A private Git server: git's own `http-backend` (smart HTTP) as CGI programs behind a small HTTP server. Bodies go to
 * the program and come back as they arrive, so that large packs are chunked both ways.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'

export interface GitOrigin extends AsyncDisposable {
  readonly url: string
  /** Method, target and transfer coding of all requests, as `POST /a.git/git-receive-pack chunked`. */
  readonly seen: readonly string[]
}

/** Serves every repository below a folder, for reading and writing. */
export async function startGitOrigin(folder: string): Promise<GitOrigin> {
  const seen: string[] = []
  const server = createServer((req, res) => {
    const { method, url, headers } = req
    seen.push([method, url, headers['transfer-encoding']].filter(Boolean).join(' '))
    serve(folder, req, res).catch(() => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function serve(folder: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const [path = '/', query = ''] = (req.url ?? '/').split('?')
  const header = (name: string) => String(req.headers[name] ?? '')
  const backend = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: '1',
      // Whoever may use the application may push.
      REMOTE_USER: 'somebody',
      REQUEST_METHOD: req.method,
      PATH_INFO: decodeURIComponent(path),
      QUERY_STRING: query,
      CONTENT_TYPE: header('content-type'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      GIT_PROTOCOL: header('git-protocol'),
      ...(req.headers['content-length'] && { CONTENT_LENGTH: header('content-length') }),
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  // It may end before it has read everything.
  pipeline(req, backend.stdin).catch(() => undefined)
  await pipeline(backend.stdout, source => answer(source, res), res)
}

/** Takes the CGI header off, and sends it as the head of the answer. */
async function* answer(source: AsyncIterable<Buffer>, res: ServerResponse): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0)
  for await (const chunk of source) {
    if (head === undefined) {
      yield chunk
      continue
    }
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) continue
    writeHead(res, head.toString('latin1', 0, end))
    yield head.subarray(end + 4)
    head = undefined
  }
}

function writeHead(res: ServerResponse, head: string): void {
  for (const line of head.split('\r\n')) {
    const [name = '', value = ''] = line.split(/:\s*/, 2)
    if (name === 'Status') res.statusCode = Number(value.slice(0, 3))
    else res.setHeader(name, value)
  }
}
