/**
 * The way in for connectors beside the bus: to enrol, to ask why the bus does not take them, to renew a certificate that
 * has expired. That opens nothing: it reads small bodies, adds the address that they came from and passes them on to the
 * registry, which decides. Addresses that ask too often are told to wait (limits.ts). Connectors that were offered a
 * connection past the bus come the same way (direct-offers.ts).
 */

import type { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import {
  EnrolRequest,
  Issued,
  maxDoorBytes,
  RevocationListReply,
  SignedRequest,
  Standing,
} from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import { InsistentCalls } from '#infra/insistent-calls.ts'
import { parseJson } from '#infra/json.ts'
import { subjects } from '#infra/subjects.ts'
import type { DirectOffers } from './direct-offers.ts'
import { flatHeaders } from './front/client.ts'
import type { Patience } from './front/patience.ts'
import type { Limits } from './limits.ts'
import { readBody } from './small-body.ts'
import type { EndpointVisit } from './visit.ts'

export interface ConnectorsDoor {
  enrol(visit: EndpointVisit): Promise<void>
  status(visit: EndpointVisit): Promise<void>
  renew(visit: EndpointVisit): Promise<void>
  /** The revocation list, for anybody. */
  revocationList(visit: EndpointVisit): Promise<void>
  /** A connection past the bus. */
  direct(visit: EndpointVisit): void
}

export interface DoorOptions {
  bus: Bus
  limits: Limits
  uploads: Patience
  direct: DirectOffers
}

/** The registry may have to ask the store a few times. */
const timeoutMs = 5_000

interface Passing<Request extends z.ZodType, Reply extends z.ZodType> {
  request: Request
  subject: string
  reply: Reply
}

export function openConnectorsDoor({ bus, limits, uploads, direct }: DoorOptions): ConnectorsDoor {
  const calls = new InsistentCalls(bus, 'gateway')
  const ask = <Reply extends z.ZodType>(subject: string, request: unknown, reply: Reply) =>
    calls.ask(subject, request, { reply, timeoutMs, unavailable: 'enrolment_unavailable' })
  const pass =
    <Request extends z.ZodType, Reply extends z.ZodType>(passing: Passing<Request, Reply>) =>
    async (visit: EndpointVisit) => {
      const { clientAddress } = visit.incoming
      limits.admit('enrolment', clientAddress)
      const body = await readSmallBody(visit, uploads)
      if (body === undefined) return
      const request = parseJson(passing.request, body, 'body', 'bad_request')
      const asked = { ...Object(request), clientAddress }
      const answer = await ask(passing.subject, asked, passing.reply)
      send(visit, 'application/json', Buffer.from(JSON.stringify(answer)))
    }
  return {
    enrol: pass({ request: EnrolRequest, subject: subjects.enrolRequest, reply: Issued }),
    status: pass({ request: SignedRequest, subject: subjects.standingRequest, reply: Standing }),
    renew: pass({ request: SignedRequest, subject: subjects.readmitRequest, reply: Issued }),
    async revocationList(visit) {
      limits.admit('enrolment', visit.incoming.clientAddress)
      const { list } = await ask(subjects.revocationListRequest, {}, RevocationListReply)
      send(visit, 'application/pkix-crl', Buffer.from(list, 'base64'))
    },
    direct: visit => direct.accept(visit),
  }
}

/** Undefined when the client went away meanwhile. */
function readSmallBody(
  { incoming, req }: EndpointVisit,
  uploads: Patience,
): Promise<Buffer | undefined> {
  const { hasBody, contentLength = Number.POSITIVE_INFINITY } = incoming
  if (hasBody && contentLength <= maxDoorBytes) return readBody(req, uploads)
  throw hasBody
    ? new SallyportError('body_too_large', `at most ${maxDoorBytes} bytes, with a Content-Length`)
    : new SallyportError('bad_request', 'there is no body')
}

function send({ res }: EndpointVisit, type: string, body: Buffer): void {
  const headers = { 'content-type': type, 'cache-control': 'no-store' }
  res.sendWhole(200, 'OK', flatHeaders(headers), body)
}
