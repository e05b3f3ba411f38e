/**
 * What JetStream answers to a published event: a publish acknowledgement, the flow acknowledgement of a batch
 * (ADR-50), an error, or the server's "no responders" when no stream takes the subject. Whatever is not understood
 * counts as a refusal, so that nothing is believed stored that is not.
 */

import type { Message } from '../bus.ts'

export interface Refusal {
  readonly is: 'refused'
  readonly reason: string
  /** What is refused: this batch alone, batches as such, or every event for now. */
  readonly of: 'batch' | 'batches' | 'events'
}

export type Answer =
  | { readonly is: 'stored-up-to'; readonly upTo: number }
  | { readonly is: 'ended'; readonly upTo: number }
  | { readonly is: 'stored-alone' }
  | Refusal

interface Body {
  type?: string
  seq?: number
  stream?: string
  batch?: string
  count?: number
  error?: { err_code?: number; description?: string }
}

/** Batches are disabled, their form is refused, or there are too many. */
const batchesRefused = new Set([10_205, 10_206, 10_207, 10_211])

/** The server does not know the batch (any more), for instance after a restart. */
const batchUnknown = 10_208

export function answerOf({ data, headers }: Message): Answer {
  if (data.length === 0) return refusal(headers?.code === 503 ? 'no stream takes it' : 'empty')
  const body = parse(data)
  if (body.error) return failure(body.error)
  if (body.type === 'ack' && isCount(body.seq)) return { is: 'stored-up-to', upTo: body.seq }
  if (body.type !== undefined) return refusal(`${body.type} in a batch`, 'batch')
  if (body.batch !== undefined && isCount(body.count)) return { is: 'ended', upTo: body.count }
  if (body.stream !== undefined && isCount(body.seq)) return { is: 'stored-alone' }
  return refusal('an answer that is not understood')
}

function parse(data: Buffer): Body {
  try {
    const value: unknown = JSON.parse(data.toString())
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function failure({ err_code = 0, description = 'no reason' }: NonNullable<Body['error']>) {
  if (err_code === batchUnknown) return refusal(description, 'batch')
  return refusal(description, batchesRefused.has(err_code) ? 'batches' : 'events')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function refusal(reason: string, of: Refusal['of'] = 'events'): Refusal {
  return { is: 'refused', reason, of }
}
