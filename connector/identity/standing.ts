/**
 * While the bus does not take this connector, asks the registry through the gateway why: removed, and there is nothing
 * left to do; disabled, and it waits; its certificate has expired, and it asks for a new one until an administrator has
 * allowed that. The bus itself refuses without a reason.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from '#infra/bus.ts'
import { pinOf } from '#infra/certificates.ts'
import { type ConnectorStatement, Issued, Standing } from '#infra/contracts/enrolment.ts'
import { asSallyportError, type FaultCode } from '#infra/errors.ts'
import { EndedForGood } from '#infra/lifecycle.ts'
import type { Logger } from '#infra/log.ts'
import { createSigningRequest } from '#infra/pki.ts'
import { signRequest } from '#infra/signed-request.ts'
import { askDoor, type DoorOptions } from './door.ts'
import type { Identity, IdentityFolder } from './folder.ts'
import { checkIssued } from './issued.ts'
import type { RegistryTime } from './registry-time.ts'

export interface StandingOptions {
  folder: IdentityFolder
  bus: () => Bus | undefined
  time: RegistryTime
  log: Logger
  proxy?: DoorOptions['proxy']
  /** It is refused until an administrator changes something, and waits. */
  onWaiting?: (() => void) | undefined
  /** First wait, and the wait between two questions after that at most. */
  waitsMs?: { first: number; longest: number }
}

export interface StandingWatch extends AsyncDisposable {
  /** Rejects with `EndedForGood` when this identity will never be taken again. */
  readonly ended: Promise<never>
}

const usualWaitsMs = { first: 3_000, longest: 60_000 }

/** No waiting and no administrator's consent makes this certificate good again. */
const final: ReadonlySet<FaultCode> = new Set<FaultCode>([
  'connector_removed',
  'certificate_revoked',
  'certificate_invalid',
])

export function watchStanding(options: StandingOptions): StandingWatch {
  const { log } = options
  const stopping = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  ended.catch(() => undefined)
  const done = run(options, stopping.signal).catch(error => {
    if (stopping.signal.aborted) return
    if (!(error instanceof EndedForGood))
      log.error({ error }, 'the standing is not watched any more')
    reject(error)
  })
  return {
    ended,
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await done
    },
  }
}

async function run(options: StandingOptions, signal: AbortSignal): Promise<void> {
  const { bus, waitsMs = usualWaitsMs } = options
  for (let waitMs = waitsMs.first; ; ) {
    // All who lost the bus at one moment should not ask at one moment.
    await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal, ref: false })
    if (bus()?.isConnected) {
      waitMs = waitsMs.first
      continue
    }
    await look(options, signal)
    waitMs = Math.min(waitMs * 2, waitsMs.longest)
  }
}

async function look(options: StandingOptions, signal: AbortSignal): Promise<void> {
  const { folder, log } = options
  try {
    const identity = await folder.read()
    if (!identity) throw new EndedForGood(`the identity in ${folder.path} is gone`)
    const { mustRenew } = await standingOf(identity, { ...options, signal })
    if (mustRenew) await askForRenewal(identity, { ...options, signal })
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof EndedForGood) throw error
    const { code, fault, message } = asSallyportError(error)
    if (final.has(code)) throw new EndedForGood(`${fault.title} ${fault.advice} (${message})`)
    if (code === 'certificate_expired' || code === 'connector_disabled') {
      log.warn(`the bus does not take this connector: ${fault.title} ${fault.advice}`)
      options.onWaiting?.()
    } else log.warn(`why the bus does not take this connector is not known yet: ${message}`)
  }
}

/** Where this identity stands. @throws SallyportError that says why it is not taken. */
export async function standingOf(
  identity: Identity,
  options: Pick<StandingOptions, 'time' | 'proxy'> & { signal?: AbortSignal },
): Promise<Standing> {
  const { time } = options
  const askedAtMs = Date.now()
  const standing = await askDoor(doorOf(identity, options), 'status', {
    body: signed(identity, { purpose: 'status', clockMs: time.now() }),
    answer: Standing,
  })
  time.measured(standing.time, askedAtMs)
  return standing
}

async function askForRenewal(
  identity: Identity,
  options: StandingOptions & { signal: AbortSignal },
): Promise<void> {
  const { folder, time, log } = options
  const { connectorId, enrolUrl, root } = identity
  const key = await folder.nextKey()
  const signingRequest = await createSigningRequest(key)
  const issued = await askDoor(doorOf(identity, options), 'renew', {
    body: signed(identity, { purpose: 'renew', clockMs: time.now(), signingRequest }),
    answer: Issued,
  })
  const expected = { key, pin: pinOf(root), enrolUrl, connectorId, nowMs: time.now() }
  await folder.accept(checkIssued(issued, expected))
  log.info('an administrator has allowed a new certificate; connecting with it')
}

function doorOf(
  { enrolUrl }: Identity,
  { proxy, signal }: Pick<StandingOptions, 'proxy'> & { signal?: AbortSignal },
): DoorOptions {
  return { url: enrolUrl, ...(proxy && { proxy }), ...(signal && { signal }) }
}

function signed(identity: Identity, statement: ConnectorStatement) {
  return { request: signRequest(identity, statement) }
}
