/** The leanest honest Node hop: node:http in front, undici's dispatch behind, bodies piped both ways. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Dispatcher, Pool } from 'undici'
import { endToEnd } from './end-to-end.ts'
import { listen } from './listen.ts'

const pool = new Pool(process.env.ORIGIN ?? '', { connections: 64, pipelining: 1 })

function relay(req: IncomingMessage, res: ServerResponse): void {
  const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
  const options: Dispatcher.DispatchOptions = {
    method: req.method as Dispatcher.HttpMethod,
    path: req.url ?? '/',
    headers: endToEnd(req.rawHeaders),
    body: hasBody ? req : null,
  }
  pool.dispatch(options, {
    onRequestStart(controller) {
      res.on('close', () => {
        if (!res.writableFinished) controller.abort(new Error('the client went away'))
      })
    },
    onResponseStart(controller, status) {
      const rawHeaders = controller.rawHeaders as readonly (Buffer | string)[]
      res.writeHead(status, endToEnd(rawHeaders.map(String)))
    },
    onResponseData(controller, chunk) {
      if (res.write(chunk)) return
      controller.pause()
      res.once('drain', () => controller.resume())
    },
    onResponseEnd() {
      res.end()
    },
    onResponseError() {
      if (res.headersSent) res.destroy()
      else res.writeHead(502).end()
    },
  })
}

listen(createServer(relay))
