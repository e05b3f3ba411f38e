/**
 * Which KDC is asked. libkrb5 waits ten seconds for each dead one and remembers nothing, so we choose: all that are
 * known get a question, the first in order that answers is the only one in the krb5.conf that is ours. When a call fails
 * for want of a KDC the circuit opens, nobody waits any more, and one is looked for until it answers.
 */

import { resolveSrv } from 'node:dns/promises'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { replaceFile } from '#infra/files.ts'
import type { Logger } from '#infra/log.ts'
import { type SeldomLog, seldom } from '#infra/seldom-log.ts'
import { asRequest, type KdcAnswer, readKdcAnswer } from './as-request.ts'

export interface Kdc {
  readonly host: string
  readonly port: number
}

export interface KdcsOptions {
  readonly realm: string
  /** Left out, the directory's SRV record names them. */
  readonly kdcs?: readonly Kdc[] | undefined
  readonly configPath: string
  readonly log: Logger
  /** Whether calls to the KDC make sense. */
  readonly onTurn: (isUp: boolean) => void
  /** Another KDC is to be asked from now on; those who asked the last one may never get an answer. */
  readonly onOther: () => void
  readonly onTime: (kdcTimeMs: number) => void
}

interface Found extends Kdc, KdcAnswer {}

/** How long a KDC may take to say anything, and how much later the next one in order is asked. */
const answersWithinMs = 1_000
const staggerMs = 100

/** How long the circuit stays open at least, and the pause between two looks. */
const openForMs = 1_000

export class Kdcs implements Disposable {
  readonly #options: KdcsOptions
  readonly #stopped = new AbortController()
  readonly #failed: SeldomLog
  #isSearching = false

  constructor(options: KdcsOptions) {
    this.#options = options
    this.#failed = seldom(options.log, 'error')
  }

  /** Writes the first configuration; resolves after one look, whatever came of it. */
  async start(): Promise<void> {
    const found = await this.#look()
    await this.#choose(found)
    if (!found) this.suspect()
  }

  /** A call failed for want of a KDC. */
  suspect(): void {
    if (this.#isSearching || this.#stopped.signal.aborted) return
    this.#isSearching = true
    this.#options.onTurn(false)
    this.#search().catch(error => {
      if (!this.#stopped.signal.aborted) this.#options.log.error({ error }, 'KDCs are given up')
    })
  }

  /** Asks for the time once more. */
  async measure(): Promise<void> {
    await this.#look()
  }

  async #search(): Promise<void> {
    const { log, onTurn, onOther, realm } = this.#options
    const { signal } = this.#stopped
    log.warn({ realm }, 'no KDC answers; users without tickets wait')
    let chosen: Kdc | undefined
    do {
      await sleep(openForMs, undefined, { signal, ref: false })
      chosen = await this.#chooseAgain()
    } while (!chosen)
    onOther()
    log.info({ realm, kdc: addressOf(chosen) }, 'a KDC answers')
    this.#isSearching = false
    onTurn(true)
  }

  /** A disk may be full, or the file gone, as a KDC may be away: all of them come back. */
  async #chooseAgain(): Promise<Kdc | undefined> {
    try {
      const found = await this.#look()
      if (found) await this.#choose(found)
      return found
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#failed('', { error }, 'no KDC can be chosen')
      return undefined
    }
  }

  async #look(): Promise<Found | undefined> {
    const { realm, onTime } = this.#options
    const known = await this.#known()
    const answers = known.map(async (kdc, i) => {
      await sleep(i * staggerMs)
      return { ...kdc, ...(await question(kdc, realm)) }
    })
    const found = await Promise.any(answers).catch(() => undefined)
    if (found?.kdcTimeMs !== undefined) onTime(found.kdcTimeMs)
    return found
  }

  async #known(): Promise<readonly Kdc[]> {
    const { kdcs, realm, log } = this.#options
    if (kdcs) return kdcs
    const records = await resolveSrv(`_kerberos._tcp.${realm.toLowerCase()}`).catch(error => {
      log.warn({ realm, reason: error.message }, 'the SRV record of the KDCs cannot be read')
      return []
    })
    return records
      .toSorted((a, b) => a.priority - b.priority || b.weight - a.weight)
      .map(({ name, port }) => ({ host: name, port }))
  }

  /** Without a live KDC the configuration names none. */
  async #choose(kdc: Kdc | undefined): Promise<void> {
    const { configPath, realm } = this.#options
    await replaceFile(configPath, configuration(realm, kdc && addressOf(kdc)))
  }

  [Symbol.dispose](): void {
    this.#stopped.abort()
  }
}

function addressOf({ host, port }: Kdc): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** `forwardable`: otherwise no ticket can be used to delegate. TCP from the start, and no names made by DNS. */
function configuration(realm: string, kdc: string | undefined): string {
  return [
    '[libdefaults]',
    ` default_realm = ${realm}`,
    ' dns_lookup_kdc = false',
    ' dns_lookup_realm = false',
    ' dns_canonicalize_hostname = false',
    ' rdns = false',
    ' forwardable = true',
    ' udp_preference_limit = 1',
    '[realms]',
    ` ${realm} = {`,
    ...(kdc === undefined ? [] : [`  kdc = ${kdc}`]),
    ' }',
    '[domain_realm]',
    ` .${realm.toLowerCase()} = ${realm}`,
    ` ${realm.toLowerCase()} = ${realm}`,
    '',
  ].join('\n')
}

/** As whom we ask; it need not exist. */
const asker = 'sallyport-connector'

/** Rejects unless the KDC answers in time. */
function question({ host, port }: Kdc, realm: string): Promise<KdcAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const end = (settle: () => void) => {
      clearTimeout(late)
      socket.destroy()
      settle()
    }
    const fail = () => end(() => reject(new Error('no answer')))
    const late = setTimeout(fail, answersWithinMs)
    let received = Buffer.alloc(0)
    socket.once('connect', () => socket.write(asRequest(realm, asker)))
    socket.once('error', fail)
    socket.once('close', fail)
    socket.on('data', (data: Buffer) => {
      received = Buffer.concat([received, data])
      try {
        const answer = readKdcAnswer(received)
        if (answer) end(() => resolve(answer))
      } catch {
        fail()
      }
    })
  })
}
