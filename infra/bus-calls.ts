/**
 * Questions and answers between services, as JSON with a schema on both sides: one member of a queue group answers.
 * Faults travel by their codes, in the headers of errors of the NATS service API (ADR-32), so that any NATS tool shows
 * them.
 */

import {
  headers,
  type MsgHdrs,
  type NatsConnection,
  NoRespondersError,
  RequestError,
  TimeoutError,
} from '@nats-io/transport-node'
import type { z } from 'zod'
import type { Bus, Message } from './bus.ts'
import { asSallyportError, type FaultCode, isFaultCode, SallyportError } from './errors.ts'
import { parseJson } from './json.ts'
import type { Logger } from './log.ts'
import { subjects } from './subjects.ts'

export interface CallOptions<Reply extends z.ZodType> {
  reply: Reply
  timeoutMs: number
  /** The fault to report when nobody answers in time. */
  unavailable: FaultCode
}

export interface ServeOptions<Request extends z.ZodType> {
  queue?: string
  request: Request
  /** Whether a request is not even read, nor answered. */
  isIgnored?: ((message: Message) => boolean) | undefined
  /** Whether what asks for no answer is handled too; otherwise it is not even read. */
  takesEvents?: boolean
  /** Its result is sent back as JSON; an error as fault code and title, never with its detail. */
  handle: (request: z.output<Request>, subject: string) => Promise<unknown> | unknown
}

const errorCodeHeader = 'Nats-Service-Error-Code'
const errorHeader = 'Nats-Service-Error'

/** On an answer that says nothing of the question: somebody is to be asked once more, now. */
const againHeader = 'Sallyport-Ask-Again'

/** So often whoever is at work on a patient question says so: by an empty message, which no answer is. */
const signOfLifeMs = 100

const nothing = new Uint8Array(0)

/** Nobody serves the subject, or whoever does said nothing in time. */
export class Unanswered extends SallyportError {}

/** Whoever was asked does not answer this question: the same may be asked once more, and somebody else may answer. */
export class AskAgain extends SallyportError {}

export function isSignOfLife({ data, headers }: Message): boolean {
  return data.length === 0 && headers === undefined
}

export function isToBeAskedAgain({ headers }: Message): boolean {
  return headers?.has(againHeader) === true
}

/** @throws SallyportError the fault of whoever answered, or `unavailable` when nobody did. */
export async function call<Reply extends z.ZodType>(
  connection: NatsConnection,
  subject: string,
  request: unknown,
  { reply, timeoutMs, unavailable }: CallOptions<Reply>,
): Promise<z.output<Reply>> {
  const answer = await connection
    .request(subject, JSON.stringify(request), { timeout: timeoutMs })
    .catch(error => {
      throw translate(error, subject, unavailable)
    })
  return readAnswer(reply, subject, answer)
}

/** @throws SallyportError the fault of whoever answered. */
export function readAnswer<Reply extends z.ZodType>(
  reply: Reply,
  subject: string,
  answer: { data: Uint8Array; headers?: MsgHdrs | undefined },
): z.output<Reply> {
  const code = answer.headers?.get(errorCodeHeader)
  if (code) {
    const detail = answer.headers?.get(errorHeader) ?? code
    throw new SallyportError(isFaultCode(code) ? code : 'internal', `${subject}: ${detail}`)
  }
  return parseJson(reply, Buffer.from(answer.data), subject)
}

/** Handles what nobody waits for: how it failed, only whoever calls this learns. */
export async function take<Request extends z.ZodType>(
  { subject, data }: Message,
  { request, handle }: Pick<ServeOptions<Request>, 'request' | 'handle'>,
): Promise<void> {
  await handle(parseJson(request, data, subject, 'bad_request'), subject)
}

/** Patient questions that are being answered, over each connection. */
const atWork = new WeakMap<Bus, Set<string>>()

/**
 * Sends back what `handle` makes of a question, or the fault with which it ends. A patient question that is asked again
 * while it is being answered is not handled twice: whoever asks hears that somebody is at work.
 */
export async function answer<Request extends z.ZodType>(
  bus: Bus,
  { reply, subject, data }: Message,
  { request, handle, log }: Pick<ServeOptions<Request>, 'request' | 'handle'> & { log: Logger },
): Promise<void> {
  if (reply === undefined) return
  const sign = () => bus.publish(reply, nothing)
  const isPatient = subjects.isPatientReply(reply)
  if (isPatient && subjects.isPatientReplyAgain(reply)) sign()
  const working = atWork.get(bus) ?? new Set()
  atWork.set(bus, working)
  const question = subjects.patientQuestion(reply)
  if (isPatient && working.has(question)) return
  const signs = isPatient ? setInterval(sign, signOfLifeMs) : undefined
  if (isPatient) working.add(question)
  try {
    const result = await handle(parseJson(request, data, subject, 'bad_request'), subject)
    bus.publish(reply, Buffer.from(JSON.stringify(result ?? null)), { reply: '' })
  } catch (error) {
    const failure = asSallyportError(error)
    if (failure.code === 'internal') log.error({ error, subject }, 'a request failed')
    const refusal = headers()
    refusal.set(errorCodeHeader, failure.code)
    refusal.set(errorHeader, failure.fault.title)
    if (failure instanceof AskAgain) refusal.set(againHeader, 'true')
    bus.publish(reply, nothing, { headers: refusal })
  } finally {
    clearInterval(signs)
    working.delete(question)
  }
}

function translate(error: unknown, subject: string, unavailable: FaultCode): SallyportError {
  const cause = error instanceof RequestError && error.cause ? error.cause : error
  if (cause instanceof NoRespondersError) {
    return new Unanswered(unavailable, `nobody serves ${subject}`, { cause: error })
  }
  if (cause instanceof TimeoutError || error instanceof TimeoutError) {
    return new Unanswered(unavailable, `no answer to ${subject} in time`, { cause: error })
  }
  return new SallyportError(unavailable, `${subject} could not be asked`, { cause: error })
}
