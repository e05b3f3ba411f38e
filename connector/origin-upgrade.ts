/** Requests that ask the origin to switch protocols: each on a connection of its own, which carries the other protocol. */

import type { Application } from '#infra/contracts/application.ts'
import { headerValue } from '#infra/http.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, UpgradeSink } from './origin.ts'
import { requestAlone } from './own-connection.ts'

/** As `Origins.upgrade`. */
export function upgrade(
  dialer: Dialer,
  application: Application,
  request: OriginRequest,
  sink: UpgradeSink,
): () => void {
  let isAnswered = false
  const outgoing = requestAlone(
    { dialer, application },
    { ...request, headers: bodiless(request) },
    {
      connected: () => sink.started(),
      failed: error => !isAnswered && sink.failed(error),
    },
  )
  outgoing.on('upgrade', (response, socket, first) => {
    isAnswered = true
    sink.upgraded(response.statusMessage ?? '', response.rawHeaders, socket, first)
  })
  outgoing.on('response', response => {
    isAnswered = true
    sink.declined(response)
  })
  outgoing.end(request.body instanceof Buffer ? request.body : undefined)
  return () => outgoing.destroy()
}

/** Node's client puts chunks behind a POST that says nothing of its body: they would be the protocol's first bytes. */
function bodiless({ method, headers }: OriginRequest): string[] {
  const isUsual = method === 'GET' || method === 'HEAD' || headerValue(headers, 'content-length')
  return isUsual ? headers : [...headers, 'Content-Length', '0']
}
