/**
 * Where the events of `sallyport tail` come from: a plain subscription shows what happens from now on, and a consumer
 * of the stream AUDIT shows what was stored since a time and then goes on. Both are filtered by the server. An
 * auditor's credentials are enough for either.
 */

import { randomBytes } from 'node:crypto'
import { DeliverPolicy, jetstream } from '@nats-io/jetstream'
import {
  AuthorizationError,
  type NatsConnection,
  PermissionViolationError,
} from '@nats-io/transport-node'
import { addressesOf, type BusAddress, dial } from '#infra/bus-connection.ts'
import { ConfigurationError } from '#infra/config.ts'
import { eventsOf } from '#infra/contracts/audit.ts'
import { foreignBus } from '#infra/dial-problem.ts'
import { detailOf } from '#infra/errors.ts'
import { streams, subjects } from '#infra/subjects.ts'
import { CommandFailure, UsageError } from './failure.ts'

/** Gets each event as it lies on the bus, and where. */
export type Show = (text: string, subject: string) => void

export async function connectAuditor(address: BusAddress): Promise<NatsConnection> {
  try {
    return await dial({
      ...address,
      name: 'sallyport tail',
      inboxPrefix: subjects.inbox('auditor', randomBytes(5).toString('hex')),
    })
  } catch (error) {
    if (error instanceof ConfigurationError) throw new UsageError(error.message)
    const hosts = addressesOf(address.url)
    if (error instanceof Error && error.cause instanceof AuthorizationError) {
      throw new CommandFailure(`the bus at ${hosts} refuses the credentials`)
    }
    const reason = detailOf(error)
    if (reason === foreignBus) {
      const fix = 'set SALLYPORT_BUS_CA_PATH to the root that it leads to'
      throw new CommandFailure(`the bus at ${hosts} is not trusted: ${reason}; ${fix}`)
    }
    throw new CommandFailure(
      `no bus answers at ${hosts} (${reason}): is it running? set SALLYPORT_BUS_URL`,
    )
  }
}

/** Everything from now on. Resolves when the server knows of it; `onFailure` hears when it breaks off later. */
export async function follow(
  connection: NatsConnection,
  { subject, show, onFailure }: { subject: string; show: Show; onFailure: (error: Error) => void },
): Promise<void> {
  connection.subscribe(subject, {
    callback: (error, message) => {
      if (error) onFailure(failureOf(error))
      else for (const text of eventsOf(message.data)) show(text, message.subject)
    },
  })
  await connection.flush()
}

export interface Past {
  subject: string
  since: Date
  /** Ends with what is stored by now, instead of going on. */
  endsNow: boolean
  show: Show
  /** What was stored at the beginning has been shown. */
  onPresent: () => void
}

/** Everything stored since a time, in the order of the stream, and then what is stored from now on. */
export async function replay(connection: NatsConnection, past: Past): Promise<void> {
  try {
    await readStream(connection, past)
  } catch (error) {
    throw failureOf(error instanceof Error ? error : new Error(String(error)))
  }
}

async function readStream(
  connection: NatsConnection,
  { subject, since, endsNow, show, onPresent }: Past,
): Promise<void> {
  const consumer = await jetstream(connection, { checkAPI: false }).consumers.get(streams.audit, {
    filter_subjects: subject,
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: since.toISOString(),
  })
  let { num_pending: left } = await consumer.info(true)
  if (left === 0) onPresent()
  if (left === 0 && endsNow) return
  for await (const message of await consumer.consume()) {
    for (const text of eventsOf(message.data)) show(text, message.subject)
    if (--left === 0) onPresent()
    if (left === 0 && endsNow) return
  }
}

function failureOf(error: Error): CommandFailure {
  if (isForbidden(error)) {
    return new CommandFailure('the bus does not let this user read audit events: use the auditor')
  }
  return new CommandFailure(`the audit trail cannot be followed: ${error.message}`)
}

function isForbidden(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof PermissionViolationError) return true
  }
  return false
}
