/**
 * The connection to NATS that every service stands on. Three things to know:
 * outgoing messages wait in one queue per connection and leave together at the end of the event-loop turn (that
 * halves the cost of an exchange, and keeps their order); while the connection is away nothing can be published, and
 * `publish` says so instead of losing it silently as the client library does; a handler that throws is logged and
 * never ends the reader.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Msg, MsgHdrs, NatsConnection, Subscription } from '@nats-io/transport-node'
import type { z } from 'zod'
import { answer, type CallOptions, call, type ServeOptions, take } from './bus-calls.ts'
import { addressesOf, type BusAddress, dial, mayHear, waitMsBefore } from './bus-connection.ts'
import { ConfigurationError } from './config.ts'
import { detailOf, type FaultCode, SallyportError } from './errors.ts'
import type { Logger } from './log.ts'
import { type SeldomLog, seldom } from './seldom-log.ts'
import { subjects } from './subjects.ts'

export interface BusOptions extends BusAddress {
  /** Which service this is; the first token of its private inboxes. */
  role: string
  /** Which one of them; random unless given. */
  instance?: string
  log: Logger
  signal?: AbortSignal
}

export interface Message {
  readonly subject: string
  readonly data: Buffer
  readonly reply: string | undefined
  readonly headers: MsgHdrs | undefined
}

export interface SubscribeOptions {
  queue?: string
  callback: (message: Message) => void
}

/** Whoever asks for something waits so long for a bus that is away. */
export const busWaitMs = 1_000

/** Queued bytes above which a batch leaves at once. */
const flushBytes = 64 * 1024

type Status = 'connected' | 'disconnected'

export class Bus implements AsyncDisposable {
  readonly instance: string
  readonly connection: NatsConnection
  readonly #log: Logger
  /** Whoever sends what cannot be read may do so without end. */
  readonly #handlerFailed: SeldomLog
  readonly #listeners = new Set<(status: Status) => void>()
  #queue: {
    subject: string
    data: Uint8Array
    options: { reply?: string; headers?: MsgHdrs } | undefined
  }[] = []
  #queuedBytes = 0
  #isFlushedBySender = false
  #isConnected = true

  constructor(connection: NatsConnection, instance: string, log: Logger) {
    this.connection = connection
    this.instance = instance
    this.#log = log
    this.#handlerFailed = seldom(log, 'error')
    this.#followStatus().catch(error => log.error({ error }, 'bus status ended'))
  }

  /** False from the moment the connection is lost until it is back. */
  get isConnected(): boolean {
    return this.#isConnected
  }

  /** Largest message that the server takes, in bytes. */
  get maxPayloadBytes(): number {
    return this.connection.info?.max_payload ?? 1_048_576
  }

  /** Calls back at every loss and return of the connection, until the returned function is called. */
  onStatus(listener: (status: Status) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Waits for a connection that is away. @throws SallyportError `bus_unavailable` when it stays away for longer. */
  async untilConnected(waitMs: number): Promise<void> {
    if (this.#isConnected) return
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const late = setTimeout(() => {
      reject(new SallyportError('bus_unavailable', 'the bus is not connected'))
    }, waitMs)
    const off = this.onStatus(status => status === 'connected' && resolve())
    await promise.finally(() => {
      clearTimeout(late)
      off()
    })
  }

  /**
   * Asks something over this connection, when it is there or comes soon. The client library lets what is asked while it is
   * away, and what is under way when it breaks, wait until the time-out. @throws SallyportError `otherwise` in both cases
   */
  async whileConnected<Answer>(
    ask: () => Promise<Answer>,
    otherwise: FaultCode = 'bus_unavailable',
  ): Promise<Answer> {
    const away = () => new SallyportError(otherwise, 'the bus is away, or was lost meanwhile')
    await this.untilConnected(busWaitMs).catch(() => {
      throw away()
    })
    const answered = await this.untilLost(ask)
    if (!answered) throw away()
    return answered.value
  }

  /** The answer, or undefined when the connection broke first. */
  async untilLost<Answer>(ask: () => Promise<Answer>): Promise<{ value: Answer } | undefined> {
    const { promise: lost, resolve } = Promise.withResolvers<undefined>()
    const off = this.onStatus(status => status === 'disconnected' && resolve(undefined))
    return await Promise.race([ask().then(value => ({ value })), lost]).finally(off)
  }

  /**
   * Queues a message for the end of this event-loop turn. False when the connection is away: the message is not
   * sent, now or later. `data` must not be changed afterwards.
   */
  publish(
    subject: string,
    data: Uint8Array,
    options?: { reply?: string; headers?: MsgHdrs },
  ): boolean {
    if (!this.#isConnected || this.connection.isClosed()) return false
    const isFirst = this.#queue.push({ subject, data, options }) === 1
    if (isFirst && !this.#isFlushedBySender) setImmediate(() => this.flushQueue())
    this.#queuedBytes += data.length
    if (this.#queuedBytes >= flushBytes) this.flushQueue()
    return true
  }

  /** Whatever is published by `publishAll` leaves at once, behind what is queued: no later turn has to look for it. */
  publishAtOnce(publishAll: () => void): void {
    this.#isFlushedBySender = true
    try {
      publishAll()
    } finally {
      this.#isFlushedBySender = false
      this.flushQueue()
    }
  }

  /** Hands everything queued to the socket now. */
  flushQueue(): void {
    const batch = this.#queue
    if (batch.length === 0) return
    this.#queue = []
    this.#queuedBytes = 0
    for (const { subject, data, options } of batch) {
      try {
        this.connection.publish(subject, data, options)
      } catch (error) {
        this.#log.error({ error, subject }, 'a message could not be published')
      }
    }
  }

  publishJson(subject: string, value: unknown): boolean {
    return this.publish(subject, Buffer.from(JSON.stringify(value)))
  }

  subscribe(subject: string, { queue, callback }: SubscribeOptions): Subscription {
    return this.connection.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: (error, msg) => {
        if (error) {
          this.#log.error({ error, subject }, 'subscription refused or broken')
          return
        }
        try {
          callback(asMessage(msg))
        } catch (failure) {
          this.#handlerFailed(subject, { error: failure, subject }, 'a message handler failed')
        }
      },
    })
  }

  /** Asks one member of a queue group and waits for its answer. For control messages, not for exchanges. */
  call<Reply extends z.ZodType>(
    subject: string,
    request: unknown,
    options: CallOptions<Reply>,
  ): Promise<z.output<Reply>> {
    return call(this.connection, subject, request, options)
  }

  /** Answers requests. Anything that does not parse is refused with `bad_request`. */
  serve<Request extends z.ZodType>(
    subject: string,
    { queue, isIgnored, takesEvents = false, ...options }: ServeOptions<Request>,
  ): Subscription {
    const failed = (error: unknown) =>
      this.#handlerFailed(subject, { error, subject }, 'a message handler failed')
    return this.subscribe(subject, {
      ...(queue !== undefined && { queue }),
      callback: message => {
        if (isIgnored?.(message)) return
        if (message.reply === undefined) {
          if (takesEvents) take(message, options).catch(failed)
          return
        }
        answer(this, message, { ...options, log: this.#log }).catch(error =>
          this.#log.error({ error, subject }, 'a request could not be answered'),
        )
      },
    })
  }

  async #followStatus(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'disconnect') this.#turn('disconnected')
      else if (status.type === 'reconnect') this.#turn('connected')
      else if (status.type === 'error') this.#log.error({ error: status.error }, 'bus error')
    }
  }

  /** The library tells a loss once more with every dial that is refused, and the return as often in the end. */
  #turn(status: Status): void {
    if (this.#isConnected === (status === 'connected')) return
    this.#isConnected = status === 'connected'
    if (status === 'disconnected') {
      this.#queue = []
      this.#queuedBytes = 0
      this.#log.warn('connection to the bus lost, reconnecting')
    } else {
      this.#log.info({ server: this.connection.getServer() }, 'connected to the bus again')
    }
    for (const listener of this.#listeners) listener(status)
  }

  /** Sends what is queued, lets subscriptions finish what they received, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.flushQueue()
    if (this.connection.isClosed()) return
    if (this.#isConnected) await this.#drain()
    // The library trips over a WebSocket that it is just about to make anew.
    if (!this.connection.isClosed()) await this.connection.close().catch(() => undefined)
  }

  /** Whoever loses the bus meanwhile would wait for its return. */
  async #drain(): Promise<void> {
    const { promise: lost, resolve } = Promise.withResolvers<void>()
    const off = this.onStatus(status => status === 'disconnected' && resolve())
    const drained = this.connection.drain().catch(() => undefined)
    await Promise.race([drained, lost, sleep(5_000, undefined, { ref: false })]).finally(off)
  }
}

/**
 * Connects, and keeps trying with jitter until it succeeds or `signal` aborts; failures are logged with their reason,
 * each kind seldom. Afterwards the connection comes back by itself, without end.
 * @throws ConfigurationError for the key of another role.
 */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const { role, log, signal } = options
  const instance = options.instance ?? randomBytes(5).toString('hex')
  const complain = seldom(log, 'error')
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      const connection = await dial({
        ...options,
        name: connectionName(role, instance),
        inboxPrefix: subjects.inbox(role, instance),
        onFailure: reason => log.warn(`the bus cannot be reached again yet (${reason})`),
      })
      await refuseOtherKeys(connection, options, instance)
      return new Bus(connection, instance, log)
    } catch (error) {
      if (error instanceof ConfigurationError) throw error
      const reason = detailOf(error)
      const what = `the bus at ${addressesOf(options.url)} cannot be reached (${reason})`
      complain(reason, {}, `${what}; attempt ${attempt}, trying again`)
      await sleep(waitMsBefore(options.url, attempt), undefined, signal ? { signal } : {})
    }
  }
}

/** Who came with a certificate has no key, and who answers the server's own questions hears nothing else. */
async function refuseOtherKeys(
  connection: NatsConnection,
  { role, url }: BusOptions,
  instance: string,
): Promise<void> {
  if (role === 'callout' || url.startsWith('wss:')) return
  try {
    if (await mayHear(connection, `${subjects.inbox(role, instance)}.>`)) return
  } catch (error) {
    await connection.close().catch(() => undefined)
    throw error
  }
  await connection.close().catch(() => undefined)
  throw new ConfigurationError(
    `The bus at ${addressesOf(url)} does not let its user be a ${role}: SALLYPORT_BUS_URL has the key of another role.\n` +
      'A variable that is set counts before a file of --environment.',
  )
}

/** What the server knows a connection by. Whoever connects chooses it: it proves nothing. */
export function connectionName(role: string, instance: string): string {
  return `sallyport ${role} ${instance}`
}

function asMessage(msg: Msg): Message {
  const { data } = msg
  return {
    subject: msg.subject,
    data: Buffer.from(data.buffer, data.byteOffset, data.byteLength),
    reply: msg.reply || undefined,
    headers: msg.headers,
  }
}
