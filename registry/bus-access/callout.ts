/**
 * Answers nats-server when a connection comes with a client certificate: who that is, and what it may do. One question
 * after the other, and none whose asker has stopped waiting: when everybody comes back at once, late answers would only
 * make all others late too. Several registries share the questions; while none answers, nobody new gets in.
 */

import { connectBus, type Message } from '#infra/bus.ts'
import type { BusAddress } from '#infra/bus-connection.ts'
import type { Logger } from '#infra/log.ts'
import { signerOf } from '#infra/nkey.ts'
import { busAccount, connectorPermissions } from '#infra/permissions.ts'
import { calloutKeysOf } from '#infra/role-keys.ts'
import { queues, subjects } from '#infra/subjects.ts'
import { userNameOf } from '../user-name.ts'
import type { Admitted, Applicant, Refused } from './admission.ts'
import { admitting, type Question, readQuestion, refusing } from './callout-messages.ts'
import { Sealing } from './sealing.ts'

export interface CalloutOptions extends BusAddress {
  log: Logger
  signal?: AbortSignal
  decide: (applicant: Applicant) => Promise<Admitted | Refused>
  /** From now on questions are heard; those before were not. */
  onListening?: () => void
}

/** Questions that may wait: the rest would not be answered in time. */
const maxWaiting = 5_000
/** Without a limit of its own a question is too old after that. */
const patienceMs = 2_000
const sealedHeader = 'Nats-Server-Xkey'

/** Resolves when questions are heard. */
export async function answerCallout(options: CalloutOptions): Promise<AsyncDisposable> {
  const { url, log } = options
  const { issuer, curve } = calloutKeysOf(decodeURIComponent(new URL(firstOf(url)).username))
  const bus = await connectBus({ ...options, role: 'callout' })
  const signer = signerOf(issuer)
  const sealing = new Sealing(curve)
  let answering: Promise<void> = Promise.resolve()
  let waiting = 0
  const answer = async (message: Message, heardAt: number) => {
    const serverKey = message.headers?.get(sealedHeader)
    // Sealed or not at all: whoever asks in the open is not the server that we were set up with.
    const opened = serverKey ? sealing.open(message.data, serverKey) : undefined
    if (!serverKey || !opened) return log.warn('a question that is not sealed for us')
    const question = readQuestion(opened.toString())
    if (isLate(question, heardAt)) return
    const decision = await options.decide(applicantOf(question))
    const text =
      decision.kind === 'admitted'
        ? admitting(question, userOf(decision), signer)
        : refusing(question, decision.reason, signer)
    bus.publish(message.reply ?? '', sealing.seal(Buffer.from(text), serverKey))
  }
  bus.subscribe(subjects.whoIsIt, {
    queue: queues.registry,
    callback: message => {
      if (message.reply === undefined || waiting >= maxWaiting) return
      const heardAt = performance.now()
      waiting++
      answering = answering
        .then(() => answer(message, heardAt))
        .catch(error => log.warn({ error }, 'a question of the bus could not be answered'))
        .finally(() => waiting--)
    },
  })
  const listening = () => bus.connection.flush().then(() => options.onListening?.())
  bus.onStatus(status => {
    if (status === 'connected') listening().catch(() => undefined)
  })
  await listening()
  return bus
}

function firstOf(url: string): string {
  return url.split(',')[0]?.trim() ?? ''
}

function isLate({ exp }: Question, heardAt: number): boolean {
  if (exp !== undefined && exp * 1_000 < Date.now()) return true
  return performance.now() - heardAt > patienceMs
}

function applicantOf({ nats }: Question): Applicant {
  return {
    chain: nats.client_tls?.verified_chains?.[0] ?? [],
    connectionName: nats.connect_opts.name,
    address: nats.client_info.host,
  }
}

function userOf(admitted: Admitted) {
  return {
    name: userNameOf(admitted),
    account: busAccount,
    permissions: connectorPermissions(admitted),
    expiresAtMs: admitted.expiresAtMs,
  }
}
