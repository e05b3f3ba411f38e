/** Requests that ask the origin to switch protocols: each on a connection of its own, which carries the other protocol. */

import type { Application } from '#infra/contracts/application.ts'
import { headerValue } from '#infra/http.ts'
import type { Dialer } from './dial.ts'
import type { OriginRequest, UpgradeSink } from './origin.ts'
import { OriginError } from './origin-error.ts'
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
  outgoing.on('information', ({ statusCode, rawHeaders }) =>
    sink.information(statusCode, rawHeaders),
  )
  outgoing.on('upgrade', (response, socket, first) => {
    isAnswered = true
    const { statusMessage, rawHeaders } = response
    if (isAskedFor(rawHeaders, request.headers))
      return sink.upgraded(statusMessage ?? '', rawHeaders, socket, first)
    socket.on('error', () => undefined).destroy()
    sink.failed(new OriginError('origin_protocol_error', 'a 101 to what nobody asked for', true))
  })
  outgoing.on('response', response => {
    isAnswered = true
    sink.declined(response)
  })
  outgoing.end(request.body instanceof Buffer ? request.body : undefined)
  return () => outgoing.destroy()
}

/** A server says to what it switches, which is something that it was asked for (RFC 9110 §7.8): the layers are a list. */
function isAskedFor(answer: readonly string[], asked: readonly string[]): boolean {
  const names = namesOf(asked)
  return namesOf(answer).some(name => names.includes(name))
}

/** Of protocols, without their versions. */
function namesOf(headers: readonly string[]): string[] {
  const protocols = (headerValue(headers, 'upgrade') ?? '').toLowerCase().split(',')
  return protocols.map(protocol => (protocol.split('/')[0] as string).trim()).filter(Boolean)
}

/** Node's client puts chunks behind a POST that says nothing of its body: they would be the protocol's first bytes. */
function bodiless({ method, headers }: OriginRequest): string[] {
  const isUsual = method === 'GET' || method === 'HEAD' || headerValue(headers, 'content-length')
  return isUsual ? headers : [...headers, 'Content-Length', '0']
}
