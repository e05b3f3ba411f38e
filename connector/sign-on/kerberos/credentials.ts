/**
 * The helper's tickets: one credential of the connector, one for each user, which holds that user's tickets for
 * applications, least recently used first out. Every request gets a fresh token; a token used twice is a replay.
 */

import { GssError } from './gss-error.ts'
import {
  acquire,
  type Credential,
  finish,
  impersonate,
  initiateContext,
  initiatorOf,
  releaseContext,
  releaseCredential,
} from './gssapi.ts'
import { KdcClock } from './kdc-clock.ts'
import { KeyGuard } from './key-guard.ts'
import { Lanes } from './lanes.ts'
import type { Handle } from './library.ts'
import { isTicketOf, nameKey } from './names.ts'
import { OpenContexts } from './open-contexts.ts'
import type { HelperOptions, KerberosName } from './protocol.ts'
import { unwrapReply } from './spnego.ts'

interface User {
  readonly credential: Credential
  /** Applications for which its ticket is there, and was found to be the user's. */
  readonly spns: Set<string>
  /** Tokens being made, and contexts that wait for the application's reply. */
  uses: number
  isDropped: boolean
}

interface OpenContext {
  readonly handle: Handle
  readonly user: User
  readonly spn: string
}

export interface TokenRequest {
  readonly user: KerberosName
  readonly spn: string
  /** `performance.now()` by which it has to be there. */
  readonly deadline: number
}

/** A ticket may be dropped at the moment when it is there. */
const maxAttempts = 4

/** Longer than any call that may still use a credential that was put away. */
const retiredForMs = 300_000

export class Credentials {
  readonly #options: HelperOptions
  readonly #users = new Map<string, Promise<User>>()
  /** The first ticket for a user and application is asked for once; the others wait for it. */
  readonly #firsts = new Map<string, Promise<void>>()
  readonly #contexts = new OpenContexts<OpenContext>(({ handle, user }) => {
    releaseContext(handle)
    this.#release(user)
  })
  readonly #clock = new KdcClock()
  readonly #guard: KeyGuard
  readonly lanes: Lanes
  #service: Promise<Credential> | undefined
  #generation = 0

  constructor(options: HelperOptions) {
    this.#options = options
    this.#guard = new KeyGuard(options.keytabPath)
    this.lanes = new Lanes(options.lanes)
  }

  async checkService(deadline: number): Promise<string> {
    return (await this.#serviceCredential(deadline)).name
  }

  /** A credential may have ended earlier than the clock made believe: it is asked for once more. */
  async token(request: TokenRequest): Promise<{ token: Buffer; context: number }> {
    this.#followClock()
    try {
      return await this.#token(request)
    } catch (error) {
      if (!(error instanceof GssError) || error.failure.reason !== 'ticket_expired') throw error
      this.forget(request.user)
      this.forgetService()
      return await this.#token(request)
    }
  }

  async #token(request: TokenRequest): Promise<{ token: Buffer; context: number }> {
    const { spn } = request
    // Nothing is kept that would be refused for its time.
    const isClockWrong = this.#clock.isWrong
    const user = await (isClockWrong ? this.#userForOnce(request) : this.#userOf(request))
    try {
      if (!isClockWrong) await this.#ensureTicket(user, request)
      const { token, context } = await initiateContext(user.credential, spn)
      return { token, context: this.#contexts.keep({ handle: context, user, spn }) }
    } catch (error) {
      this.#release(user)
      throw error
    }
  }

  async #userForOnce(request: TokenRequest): Promise<User> {
    const user = await this.#impersonate(request)
    user.uses++
    user.isDropped = true
    return user
  }

  /** False also for a reply that nobody can read; undefined for a context that is not known any more. */
  async verify(context: number, reply: Uint8Array): Promise<boolean | undefined> {
    const open = this.#contexts.take(context)
    if (!open) return undefined
    const { handle, user, spn } = open
    try {
      return await finish(user.credential, spn, { context: handle, reply: unwrapReply(reply) })
    } catch (error) {
      if (error instanceof RangeError) releaseContext(handle)
      else if (!(error instanceof GssError)) throw error
      return false
    } finally {
      this.#release(user)
    }
  }

  release(context: number): void {
    this.#contexts.release(context)
  }

  forget(user: KerberosName): void {
    const key = nameKey(user)
    const entry = this.#users.get(key)
    if (entry !== undefined) this.#drop(key, entry)
  }

  forgetService(): void {
    if (this.#service !== undefined) this.#retire(this.#service)
  }

  kdcTimeIs(kdcTimeMs: number): void {
    this.#clock.kdcTimeIs(kdcTimeMs)
  }

  #followClock(): void {
    if (!this.#clock.hasJumped()) return
    for (const [key, entry] of this.#users) this.#drop(key, entry)
    this.forgetService()
  }

  #isAlive({ expiresAtMs }: Credential): boolean {
    return expiresAtMs - Date.now() > this.#options.marginMs
  }

  /** The age bounds how long a user who was disabled, or has left a group, goes unnoticed. */
  #isFresh(credential: Credential): boolean {
    return this.#isAlive(credential) && Date.now() - credential.bornAtMs < this.#options.maxAgeMs
  }

  async #serviceCredential(deadline: number): Promise<Credential> {
    if (this.#service !== undefined) {
      const current = this.#service
      const credential = await current
      if (this.#isAlive(credential)) return credential
      this.#retire(current)
    }
    if (this.#service === undefined) {
      const { keytabPath, principal } = this.#options
      const cache = `service-${++this.#generation}`
      this.#guard.check()
      const made = this.lanes.run(deadline, () => acquire(keytabPath, cache, principal))
      this.#service = made
      made.then(
        () => this.#guard.accepted(),
        error => {
          if (error instanceof GssError) this.#guard.refused(error)
          if (this.#service === made) this.#service = undefined
        },
      )
    }
    return this.#service
  }

  #retire(current: Promise<Credential>): void {
    if (this.#service !== current) return
    this.#service = undefined
    current.then(
      credential => setTimeout(releaseCredential, retiredForMs, credential).unref(),
      () => undefined,
    )
  }

  /** With one use counted. */
  async #userOf(request: TokenRequest): Promise<User> {
    const key = nameKey(request.user)
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const known = this.#users.get(key)
      const entry = known ?? this.#make(key, request)
      const user = await entry
      if (user.isDropped) continue
      if (known && !this.#isFresh(user.credential)) {
        this.#drop(key, entry)
        continue
      }
      if (this.#users.get(key) === entry) {
        this.#users.delete(key)
        this.#users.set(key, entry)
      }
      user.uses++
      return user
    }
    throw new GssError({
      reason: 'gss_failure',
      detail: 'tickets are forgotten while they are made',
    })
  }

  #make(key: string, request: TokenRequest): Promise<User> {
    const made = this.#impersonate(request)
    this.#users.set(key, made)
    made.catch(() => this.#drop(key, made))
    const [first] = this.#users
    if (this.#users.size > this.#options.maxUsers && first) this.#drop(...first)
    return made
  }

  async #impersonate({ user, deadline }: TokenRequest): Promise<User> {
    const service = await this.#serviceCredential(deadline)
    const credential = await this.lanes.run(deadline, () => impersonate(service, user))
    this.#checkIdentity(user, credential.name, service)
    return { credential, spns: new Set(), uses: 0, isDropped: false }
  }

  #checkIdentity(user: KerberosName, actual: string, service: Credential): void {
    if (isTicketOf(user, actual, service.name)) return
    const detail = `asked for ${user.name}, got ${actual}`
    throw new GssError({ reason: 'identity_mismatch', detail })
  }

  async #ensureTicket(user: User, request: TokenRequest): Promise<void> {
    const { spn, deadline } = request
    if (user.spns.has(spn)) return
    const key = `${nameKey(request.user)}\n${spn}`
    const first = this.#firsts.get(key)
    if (first !== undefined) return first
    const asked = this.lanes.run(deadline, async () => {
      const initiator = await initiatorOf(user.credential, spn)
      this.#checkIdentity(request.user, initiator, await this.#serviceCredential(deadline))
      user.spns.add(spn)
    })
    const settled = asked.finally(() => {
      if (this.#firsts.get(key) === settled) this.#firsts.delete(key)
    })
    this.#firsts.set(key, settled)
    return settled
  }

  #drop(key: string, entry: Promise<User>): void {
    if (this.#users.get(key) !== entry) return
    this.#users.delete(key)
    entry.then(
      user => {
        user.isDropped = true
        if (user.uses === 0) releaseCredential(user.credential)
      },
      () => undefined,
    )
  }

  #release(user: User): void {
    user.uses--
    if (user.uses === 0 && user.isDropped) releaseCredential(user.credential)
  }
}
