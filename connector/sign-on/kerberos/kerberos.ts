/**
 * Kerberos for one connector: tokens of users for applications, made by the helper process with the keytab, by a KDC
 * that answers.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Environment } from '#infra/config.ts'
import type { Logger } from '#infra/log.ts'
import { SignOnFailure } from '../reasons.ts'
import { HelperProcess, type Question, type Via } from './helper-process.ts'
import { type Kdc, Kdcs } from './kdcs.ts'
import { nameKey } from './names.ts'
import type { KerberosName, TokenFormat } from './protocol.ts'

export interface KerberosOptions {
  readonly keytabPath: string
  readonly principal?: string | undefined
  readonly realm: string
  readonly kdcs?: readonly Kdc[] | undefined
  readonly log: Logger
  /** For the helper alone. */
  readonly environment?: Environment | undefined
  readonly limits?: Partial<Limits> | undefined
}

interface Limits {
  readonly deadlineMs: number
  readonly maxUsers: number
  /** So long a user who was disabled in the directory may go on. */
  readonly maxAgeMs: number
}

export interface TicketRequest {
  readonly user: KerberosName
  readonly spn: string
  readonly format: TokenFormat
}

/** For one request. Either `verify` or `release` ends it. */
export interface Ticket {
  /** In base64. */
  readonly token: string
  /** Whether this reply of the application proves that it has the key of its SPN; undefined when that cannot be told. */
  verify(reply: Uint8Array): Promise<boolean | undefined>
  release(): void
}

export interface Kerberos extends AsyncDisposable {
  readonly realm: string
  readonly helperId: number | undefined
  /** The name of the connector's account. @throws SignOnFailure */
  check(): Promise<string>
  /** @throws SignOnFailure */
  ticket(request: TicketRequest): Promise<Ticket>
  /** The application has refused a token: the next one is made from the beginning. */
  forget(user: KerberosName): Promise<void>
}

const usual: Limits = { deadlineMs: 5_000, maxUsers: 5_000, maxAgeMs: 900_000 }

const marginMs = 60_000
const lanes = 8

/** An application that refuses everything must not cost the KDC a question for every request. */
const forgetUserEveryMs = 10_000
const forgetServiceEveryMs = 30_000

export async function openKerberos(options: KerberosOptions): Promise<Kerberos> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-kerberos-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const krb5ConfigPath = join(folder, 'krb5.conf')
  const { log, realm, kdcs: configured, environment } = options
  const limits = { ...usual, ...options.limits }
  const helper = stack.use(
    new HelperProcess({
      options: helperOptions(options, limits),
      krb5ConfigPath,
      environment,
      log,
    }),
  )
  const kdcs = stack.use(
    new Kdcs({
      realm,
      kdcs: configured,
      configPath: krb5ConfigPath,
      log,
      onTurn: isUp => helper.setNetwork(isUp),
      onOther: () => helper.replace(),
      onTime: kdcTimeMs => helper.setClock(kdcTimeMs),
    }),
  )
  await kdcs.start()
  const owned = stack.move()
  return new HelpedKerberos(realm, { helper, kdcs, limits }, owned)
}

function helperOptions({ keytabPath, principal, realm }: KerberosOptions, limits: Limits) {
  const { maxUsers, maxAgeMs } = limits
  const account = principal === undefined ? {} : { principal }
  return { keytabPath, ...account, realm, maxUsers, maxAgeMs, marginMs, lanes }
}

interface Parts {
  readonly helper: HelperProcess
  readonly kdcs: Kdcs
  readonly limits: Limits
}

class HelpedKerberos implements Kerberos {
  readonly realm: string
  readonly #parts: Parts
  readonly #owned: AsyncDisposableStack
  readonly #forgotten = new LRUCache<string, true>({ max: 10_000, ttl: forgetUserEveryMs })
  #serviceForgottenAt = Number.NEGATIVE_INFINITY

  constructor(realm: string, parts: Parts, owned: AsyncDisposableStack) {
    this.realm = realm
    this.#parts = parts
    this.#owned = owned
  }

  get helperId(): number | undefined {
    return this.#parts.helper.pid
  }

  async check(): Promise<string> {
    const { deadlineMs: timeoutMs } = this.#parts.limits
    const { answer } = await this.#ask({ type: 'check', timeoutMs })
    return answer.type === 'checked' ? answer.principal : ''
  }

  async ticket({ user, spn, format }: TicketRequest): Promise<Ticket> {
    const { helper, limits } = this.#parts
    const service = `${spn}@${this.realm}`
    const { deadlineMs: timeoutMs } = limits
    const question = { type: 'token', user, spn: service, format, timeoutMs } as const
    const { answer, via } = await this.#ask(question)
    if (answer.type !== 'token') throw new TypeError(`the helper answered with ${answer.type}`)
    const { token, context } = answer
    return {
      token: Buffer.from(token).toString('base64'),
      release: () => helper.tell({ type: 'release', context }, via),
      verify: reply => this.#verify(context, reply, via),
    }
  }

  async #verify(context: number, reply: Uint8Array, via: Via): Promise<boolean | undefined> {
    const { helper, limits } = this.#parts
    try {
      const question = { type: 'verify', context, reply } as const
      const { answer } = await helper.ask(question, limits.deadlineMs, via)
      return answer.type === 'verified' ? answer.isGenuine : undefined
    } catch (error) {
      if (error instanceof SignOnFailure) return undefined
      throw error
    }
  }

  async #ask(question: Question) {
    const { helper, kdcs, limits } = this.#parts
    try {
      return await helper.ask(question, limits.deadlineMs)
    } catch (error) {
      const reason = error instanceof SignOnFailure ? error.reason : undefined
      if (reason === 'kdc_timeout' || reason === 'kdc_unreachable') kdcs.suspect()
      throw error
    }
  }

  async forget(user: KerberosName): Promise<void> {
    const { helper, kdcs } = this.#parts
    const key = nameKey(user)
    if (this.#forgotten.has(key)) return
    this.#forgotten.set(key, true)
    const isServiceToo = performance.now() - this.#serviceForgottenAt >= forgetServiceEveryMs
    if (isServiceToo) {
      this.#serviceForgottenAt = performance.now()
      // Refused for its time, perhaps.
      await kdcs.measure()
    }
    helper.tell({ type: 'forget', user, isServiceToo })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#owned.disposeAsync()
  }
}
