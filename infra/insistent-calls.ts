/**
 * Questions to a queue group any of whose members may be killed, or stand still, with one in hand. Whoever needs longer
 * says again and again that it is at work (bus-calls.ts); after silence the question goes to the group once more, and
 * the first answer counts. So nobody who is at work has somebody else do the same.
 */

import { randomBytes } from 'node:crypto'
import type { z } from 'zod'
import type { Bus, Message } from './bus.ts'
import {
  type CallOptions,
  isSignOfLife,
  isToBeAskedAgain,
  readAnswer,
  Unanswered,
} from './bus-calls.ts'
import type { FaultCode } from './errors.ts'
import type { BusRole } from './permissions.ts'
import { standstillMs } from './standstill.ts'
import { subjects } from './subjects.ts'

export interface InsistentOptions<Reply extends z.ZodType> extends CallOptions<Reply> {
  /** Nobody wants to know any more. */
  signal?: AbortSignal
}

/** Longer than somebody may stand still who answers all the same (standstill.ts), and be late with the next sign. */
const silenceMs = 600
/**
 * The same for one who is asked again, and says at once that it is at work. NATS picks anybody, perhaps the silent one
 * again; within 2 s one who is not should be found almost surely, also where one of two is silent.
 */
const againMs = 150
/** So that one who has just stood still has read what is old by then. */
const afterRefusalMs = 50
/** Then it is more likely that nobody is there. */
const maxQuickly = 12
const seldomMs = 1_000

export class InsistentCalls implements Disposable {
  readonly #bus: Bus
  readonly #prefix: string
  readonly #open = new Map<string, Question>()
  readonly #resources = new DisposableStack()
  #count = 0
  /** What the quickest of the latest answers took: when all of them are slow, more questions would make it worse. */
  #quickMs = 0

  constructor(bus: Bus, role: BusRole) {
    this.#bus = bus
    const inbox = `${subjects.inbox(role, bus.instance)}.${randomBytes(4).toString('hex')}`
    this.#prefix = subjects.patientReply(inbox, '')
    const subscription = bus.subscribe(subjects.patientReply(inbox, '*'), {
      callback: message => {
        const [name = ''] = message.subject.slice(this.#prefix.length).split('-', 1)
        this.#open.get(name)?.hear(message)
      },
    })
    this.#resources.defer(() => subscription.unsubscribe())
  }

  /** @throws SallyportError the fault of whoever answered, or `unavailable` when nobody did. */
  async ask<Reply extends z.ZodType>(
    subject: string,
    request: unknown,
    options: InsistentOptions<Reply>,
  ): Promise<z.output<Reply>> {
    const { timeoutMs, unavailable, signal } = options
    const name = (this.#count++).toString(36)
    const data = Buffer.from(JSON.stringify(request))
    const first = this.#prefix + name
    const again = subjects.patientReplyAgain(first)
    const send = (isAgain: boolean) =>
      this.#bus.publish(subject, data, { reply: isAgain ? again : first })
    const question = new Question({ subject, send, unavailable, timeoutMs, quickMs: this.#quickMs })
    const abandon = () => question.end(`nobody waits for ${subject} any more`)
    signal?.addEventListener('abort', abandon, { once: true })
    this.#open.set(name, question)
    try {
      const message = await question.answered
      this.#quickMs = Math.min(question.tookMs, this.#quickMs * 1.25 + 1)
      return readAnswer(options.reply, subject, message)
    } finally {
      this.#open.delete(name)
      signal?.removeEventListener('abort', abandon)
    }
  }

  [Symbol.dispose](): void {
    this.#resources.dispose()
  }
}

interface Asking {
  subject: string
  send: (isAgain: boolean) => void
  unavailable: FaultCode
  timeoutMs: number
  quickMs: number
}

class Question {
  readonly answered: Promise<Message>
  readonly #asking: Asking
  readonly #answered = Promise.withResolvers<Message>()
  readonly #askedAt = performance.now()
  readonly #deadline: NodeJS.Timeout
  #timer: NodeJS.Timeout | undefined
  #sent = 0

  constructor(asking: Asking) {
    this.#asking = asking
    this.answered = this.#answered.promise
    const { subject, timeoutMs } = asking
    // An answer that is here already counts, however late this process looks.
    const end = () => setImmediate(() => this.end(`no answer to ${subject} in time`))
    this.#deadline = setTimeout(end, timeoutMs)
    this.#send()
  }

  get tookMs(): number {
    return performance.now() - this.#askedAt
  }

  hear(message: Message): void {
    if (isSignOfLife(message)) return this.#sendAfter(silenceMs)
    if (message.headers?.code === noResponders) {
      return this.end(`nobody serves ${this.#asking.subject}`)
    }
    if (isToBeAskedAgain(message)) return this.#sendAfter(afterRefusalMs)
    this.#clear()
    this.#answered.resolve(message)
  }

  /** Gives up. */
  end(detail: string): void {
    this.#clear()
    this.#answered.reject(new Unanswered(this.#asking.unavailable, detail))
  }

  #send(): void {
    this.#asking.send(this.#sent++ > 0)
    this.#sendAfter(this.#sent === 1 ? silenceMs : this.#sent < maxQuickly ? againMs : seldomMs)
  }

  #sendAfter(waitMs: number): void {
    clearTimeout(this.#timer)
    const silentMs = Math.max(waitMs, 2 * this.#asking.quickMs)
    const dueAt = performance.now() + silentMs
    this.#timer = setTimeout(() => {
      // Whoever stood still himself has not read yet what was answered meanwhile.
      if (performance.now() - dueAt > standstillMs) return this.#sendAfter(waitMs)
      // What is here already is read first.
      const timer = this.#timer
      setImmediate(() => this.#timer === timer && this.#send())
    }, silentMs)
  }

  #clear(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    clearTimeout(this.#deadline)
  }
}

/** Status of NATS. */
const noResponders = 503
