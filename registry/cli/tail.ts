/**
 * `sallyport tail`: follows the audit subjects over the bus and prints each event as it comes. It only listens: an
 * auditor's credentials are enough, and nothing it does is seen by the system. What the bus can filter by subject
 * never comes here.
 */

import { randomBytes } from 'node:crypto'
import {
  AuthorizationError,
  connect,
  type Msg,
  type NatsConnection,
  PermissionViolationError,
} from '@nats-io/transport-node'
import type { Command } from 'commander'
import { BusUrl, type Environment } from '#infra/config.ts'
import { eventsOf } from '#infra/contracts/audit.ts'
import { type AuditCategory, auditCategories, subjects } from '#infra/subjects.ts'
import { readSecret } from './client.ts'
import { addRefusedSecret, baseCommand, ending, refuseSecret } from './command.ts'
import { eventLine } from './event-line.ts'
import { CommandFailure, UsageError } from './failure.ts'

interface TailOptions {
  app?: string
  category?: string
  outcome?: string
  user?: string
  json?: true
  busUrlFile?: string
  busUrl?: string
}

/** More than this unread output is not kept: events are left out, counted and reported instead. */
const maxUnreadBytes = 16 * 1024 * 1024

export function addTailCommand(program: Command, environment: Environment): void {
  const command = baseCommand(program, 'tail [filter]', 'follow the audit trail as it happens')
    .option('--app <id>', 'events of one application')
    .option('--category <name>', `one of ${auditCategories.join(', ')}`)
    .option('--outcome <name>', 'events that ended so: granted, denied, failed, …')
    .option('--user <upn>', 'events of one user')
    .option('--json', 'one event per line, exactly as on the bus')
    .option('--bus-url-file <path>', 'file with the URL of the bus (or set SALLYPORT_BUS_URL)')
    .addHelpText(
      'after',
      '\nA filter is category.application.outcome: access, access.wiki, *.wiki.denied',
    )
  addRefusedSecret(command, '--bus-url <url>')
  command.action((filter: string | undefined, options: TailOptions) =>
    ending(() => tail(filter, options, environment)),
  )
}

async function tail(
  filter: string | undefined,
  options: TailOptions,
  environment: Environment,
): Promise<void> {
  refuseSecret(options.busUrl, '--bus-url', '--bus-url-file or SALLYPORT_BUS_URL')
  const subject = subjectOf(filter, options)
  await using bus = closing(await connectAuditor(busUrl(options, environment)))
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const show = printer(options, environment)
  bus.connection.subscribe(subject, {
    callback: (error, msg) => {
      if (error) reject(subscriptionFailure(error))
      else show(msg)
    },
  })
  await bus.connection.flush()
  process.stderr.write(`following ${subject}\n`)
  process.once('SIGINT', resolve).once('SIGTERM', resolve)
  // The reader of a pipe may end before us: `sallyport tail | head`.
  process.stdout.once('error', () => resolve())
  followStatus(bus.connection).catch(reject)
  await promise
}

/** `access.wiki.denied`, as far as it is said; options fill what the filter leaves open. */
function subjectOf(filter: string | undefined, { category, app, outcome }: TailOptions): string {
  const tokens = (filter ?? '').replace(/^sallyport\.audit\./, '').split('.')
  if (tokens.length > 3) throw new UsageError('a filter is category.application.outcome')
  const said = tokens.map(token => (['', '*', '>'].includes(token) ? undefined : token))
  const one = (what: string, fromFilter: string | undefined, option: string | undefined) => {
    if (fromFilter === undefined || option === undefined) return fromFilter ?? option
    throw new UsageError(`the filter names the ${what} already, so leave --${what} out`)
  }
  return subjects.auditsLike(
    asCategory(one('category', said[0], category)),
    one('app', said[1], app),
    one('outcome', said[2], outcome),
  )
}

function asCategory(name: string | undefined): AuditCategory | undefined {
  const known = auditCategories.find(category => category === name)
  if (name === undefined || known) return known
  throw new UsageError(`there is no category "${name}": choose ${auditCategories.join(', ')}`)
}

function busUrl({ busUrlFile }: TailOptions, environment: Environment): string {
  const file = busUrlFile ?? environment.SALLYPORT_BUS_URL_FILE
  const value = file ? readSecret(file) : environment.SALLYPORT_BUS_URL
  if (!value) throw new UsageError('set SALLYPORT_BUS_URL to the bus with auditor credentials')
  const url = BusUrl.safeParse(value)
  if (url.success) return url.data
  throw new UsageError('the URL of the bus must be nats://auditor:password@host:port')
}

async function connectAuditor(url: string): Promise<NatsConnection> {
  const servers = url.split(',').map(server => new URL(server.trim()))
  const [first] = servers
  const hosts = servers.map(({ host }) => host)
  try {
    return await connect({
      servers: hosts,
      ...(first?.username && {
        user: decodeURIComponent(first.username),
        pass: decodeURIComponent(first.password),
      }),
      ...(first?.protocol === 'tls:' && { tls: {} }),
      name: 'sallyport tail',
      inboxPrefix: subjects.inbox('auditor', randomBytes(5).toString('hex')),
      maxReconnectAttempts: -1,
      pingInterval: 5_000,
      timeout: 5_000,
    })
  } catch (error) {
    if (error instanceof AuthorizationError) {
      throw new CommandFailure(`the bus at ${hosts.join(', ')} refuses user or password`)
    }
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandFailure(
      `no bus answers at ${hosts.join(', ')} (${reason}): is it running? set SALLYPORT_BUS_URL`,
    )
  }
}

function closing(connection: NatsConnection) {
  return { connection, [Symbol.asyncDispose]: () => connection.close() }
}

function subscriptionFailure(error: Error): CommandFailure {
  if (error instanceof PermissionViolationError) {
    return new CommandFailure('the bus does not let this user read audit events: use the auditor')
  }
  return new CommandFailure(`the audit trail cannot be followed: ${error.message}`)
}

async function followStatus(connection: NatsConnection): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'disconnect') process.stderr.write('connection lost, waiting for the bus\n')
    if (type === 'reconnect')
      process.stderr.write('connected again; events in between are not shown\n')
  }
}

function printer(options: TailOptions, environment: Environment): (msg: Msg) => void {
  const { json: asJson, user } = options
  const isColoured = process.stdout.isTTY === true && !environment.NO_COLOR
  let leftOut = 0
  const show = (text: string, subject: string) => {
    const event = asJson && user === undefined ? undefined : parse(text)
    if (user !== undefined && !isOf(event, user)) return
    if (process.stdout.writableLength > maxUnreadBytes) {
      leftOut++
      return
    }
    if (leftOut > 0) process.stderr.write(`${leftOut} events left out: the reader is too slow\n`)
    leftOut = 0
    process.stdout.write(`${asJson ? oneLine(text) : eventLine(event, subject, isColoured)}\n`)
  }
  return msg => {
    for (const text of eventsOf(msg.data)) show(text, msg.subject)
  }
}

/** What is no event must not be able to move the cursor or look like one. */
function oneLine(text: string): string {
  return text.startsWith('{') && !text.includes('\r') ? text : JSON.stringify(parse(text) ?? text)
}

function isOf(event: unknown, user: string): boolean {
  if (typeof event !== 'object' || event === null || !('user' in event)) return false
  return typeof event.user === 'string' && event.user.toLowerCase() === user.toLowerCase()
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
