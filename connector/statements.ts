/**
 * What the registry says to this connector, as far as it is proved: signed under the root that the connector got when it
 * was enrolled, for this question, of the kind that was asked for. Everything else is refused as if it had not come, and
 * that is said in the log and in the connector's status.
 */

import type { X509Certificate } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { detailOf, SallyportError } from '#infra/errors.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import {
  createNonce,
  Nonce,
  StatementText,
  type StatementType,
  verifyStatement,
} from '#infra/statement.ts'

export interface StatementsOptions {
  bus: Bus
  /** The authority's; nobody else's statements count. */
  root: X509Certificate
  log: Logger
}

export interface Question<Said extends z.ZodType> {
  type: StatementType
  said: Said
  request: object
}

const deadlineMs = 2_000
const retryMs = 300
/** Whoever sends rubbish must not fill the log as well. */
const logEveryMs = 10_000
/** A refusal stands in the status for so long. */
const shownMs = 60_000

export class Statements {
  readonly #options: StatementsOptions
  #loggedAt = Number.NEGATIVE_INFINITY
  #refused: { readonly reason: string; readonly at: number } | undefined

  constructor(options: StatementsOptions) {
    this.#options = options
  }

  /** For the status: the last refusal, while it is new. */
  get problem(): string | undefined {
    const refused = this.#refused
    if (!refused || performance.now() - refused.at > shownMs) return undefined
    return `what the registry says is refused: ${refused.reason}`
  }

  /** Asks a registry. @throws SallyportError when none answers, or the answer is not proved to be one. */
  async ask<Said extends z.ZodType>(
    subject: string,
    { type, said, request }: Question<Said>,
  ): Promise<z.output<Said>> {
    const nonce = createNonce()
    const text = await this.#options.bus.call(
      subject,
      { ...request, nonce },
      { reply: z.unknown(), timeoutMs: deadlineMs, unavailable: 'bus_unavailable' },
    )
    return this.#read(type, said, { text, nonce })
  }

  /** Reads what a registry sent unasked. @throws SallyportError when it is not proved to be from one. */
  hear<Said extends z.ZodType>(type: StatementType, said: Said, data: Buffer): z.output<Said> {
    const text = this.#check(() => parseJson(z.unknown(), data, 'statement'))
    return this.#read(type, said, { text, nonce: undefined })
  }

  /** Counts as a refusal whatever the check throws. */
  refuse(detail: string): never {
    return this.#check(() => {
      throw new SallyportError('protocol_error', detail)
    })
  }

  #read<Said extends z.ZodType>(
    type: StatementType,
    said: Said,
    { text, nonce }: { text: unknown; nonce: string | undefined },
  ): z.output<Said> {
    return this.#check(() => {
      const statement = StatementText.safeParse(text)
      if (!statement.success) throw new SallyportError('protocol_error', 'statement: not signed')
      const payload = verifyStatement(this.#options.root, type, statement.data)
      const answers = Answers.safeParse(payload)
      if (!answers.success || answers.data.nonce !== nonce)
        throw new SallyportError('protocol_error', 'statement: it answers another question')
      return parsePayload(said, payload, type)
    })
  }

  #check<Result>(check: () => Result): Result {
    try {
      return check()
    } catch (error) {
      const reason = detailOf(error)
      const at = performance.now()
      this.#refused = { reason, at }
      if (at - this.#loggedAt > logEveryMs) {
        this.#loggedAt = at
        this.#options.log.error({ reason }, 'what the registry says is refused')
      }
      throw error
    }
  }
}

export interface Patience {
  log: Logger
  signal: AbortSignal | undefined
}

/** Asks until a registry has answered, or `signal` aborts. */
export async function untilAnswered<Answer>(
  ask: () => Promise<Answer>,
  { log, signal }: Patience,
): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      return await ask()
    } catch (error) {
      const reason = detailOf(error)
      if (attempt % 10 === 1) log.warn({ reason }, 'waiting for registry')
      await sleep(retryMs, undefined, signal ? { signal } : {})
    }
  }
}

const Answers = z.object({ nonce: Nonce.optional() })

function parsePayload<Said extends z.ZodType>(
  schema: Said,
  payload: unknown,
  type: StatementType,
): z.output<Said> {
  const result = schema.safeParse(payload)
  if (result.success) return result.data
  const problems = result.error.issues.map(issue => `${issue.path.join('.')}: ${issue.message}`)
  throw new SallyportError('protocol_error', `statement of ${type}: ${problems.join('; ')}`)
}
