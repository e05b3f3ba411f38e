/**
 * `sallyport tail`: prints audit events, as they happen or since a time. It only reads: an auditor's credentials are
 * enough, and nothing it does is seen by the system. Category, application and verdict are filtered by the server;
 * only what concerns a user is filtered here.
 */

import type { NatsConnection } from '@nats-io/transport-node'
import { type Command, Option } from 'commander'
import type { BusAddress } from '#infra/bus-connection.ts'
import { BusUrl, type Environment } from '#infra/config.ts'
import { verdicts } from '#infra/contracts/audit.ts'
import { type AuditCategory, auditCategories, subjects } from '#infra/subjects.ts'
import type { Show } from './audit-feed.ts'
import { readSecret } from './client.ts'
import { addRefusedSecret, baseCommand, ending, refuseSecret } from './command.ts'
import { eventLine } from './event-line.ts'
import { UsageError } from './failure.ts'
import { since } from './quantities.ts'

interface TailOptions {
  app?: string
  category?: string
  verdict?: string
  outcome?: string
  user?: string
  since?: string
  follow: boolean
  json?: true
  busUrlFile?: string
  busUrl?: string
}

/** More than this unread output is not kept: events are left out, counted and reported instead. */
const maxUnreadBytes = 16 * 1024 * 1024

export function addTailCommand(program: Command, environment: Environment): void {
  const command = baseCommand(program, 'tail [filter]', 'follow the audit trail')
    .option('--app <id>', 'events of one application')
    .option('--category <name>', `one of ${auditCategories.join(', ')}`)
    .option('--verdict <name>', 'events that ended so: granted, denied, failed, …')
    .addOption(new Option('--outcome <name>').hideHelp())
    .option('--user <upn>', 'events of one user')
    .option('--since <time>', 'begin in the past: 15m, 2h, 3d, or 2026-01-31T08:00Z')
    .option('--no-follow', 'with --since: end with the last stored event')
    .option('--json', 'one event per line, exactly as on the bus')
    .option('--bus-url-file <path>', 'file with the URL of the bus (or set SALLYPORT_BUS_URL)')
    .addHelpText(
      'after',
      '\nA filter is category.application.verdict: access, access.wiki, *.wiki.denied\n' +
        '\nThe bus is SALLYPORT_BUS_URL with the key of an auditor; where its certificate leads to a root of your own,\n' +
        'SALLYPORT_BUS_CA_PATH names the PEM file of that. `sallyport up` prints both.\n' +
        '\nExamples:\n' +
        '  sallyport tail --verdict denied                 who is being refused, now\n' +
        '  sallyport tail access.wiki --since 2h           the last two hours of one application, then on\n' +
        '  sallyport tail --user ada@example.com --since 1d --no-follow --json > ada.jsonl',
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
  const from = options.since === undefined ? undefined : startOf(options.since)
  if (!options.follow && !from) throw new UsageError('--no-follow shows nothing without --since')
  // The client of the bus is most of what it takes to start, and no other command needs it.
  const { connectAuditor, follow, replay } = await import('./audit-feed.ts')
  await using bus = closing(await connectAuditor(busAddress(options, environment)))
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
  process.once('SIGINT', resolve).once('SIGTERM', resolve)
  // The reader of a pipe may end before us: `sallyport tail | head`.
  process.stdout.once('error', () => resolve())
  followStatus(bus.connection, from !== undefined).catch(reject)
  const show = printer(options, environment)
  const tellFollowing = () => process.stderr.write(`following ${subject}\n`)
  if (from) {
    const onPresent = () => options.follow && tellFollowing()
    const past = { subject, since: from, endsNow: !options.follow, show, onPresent }
    await Promise.race([replay(bus.connection, past), ended])
  } else {
    await follow(bus.connection, { subject, show, onFailure: reject })
    tellFollowing()
    await ended
  }
}

function startOf(text: string): Date {
  const start = since(text)
  if (start) return start
  throw new UsageError('--since is a duration (15m, 2h, 3d) or a time (2026-01-31T08:00Z)')
}

/** `access.wiki.denied`, as far as it is said; options fill what the filter leaves open. */
function subjectOf(filter: string | undefined, options: TailOptions): string {
  const { category, app, verdict = options.outcome } = options
  const tokens = (filter ?? '').replace(/^sallyport\.audit\./, '').split('.')
  if (tokens.length > 3) throw new UsageError('a filter is category.application.verdict')
  const said = tokens.map(token => (['', '*', '>'].includes(token) ? undefined : token))
  const one = (what: string, fromFilter: string | undefined, option: string | undefined) => {
    if (fromFilter === undefined || option === undefined) return fromFilter ?? option
    throw new UsageError(`the filter names the ${what} already, so leave --${what} out`)
  }
  const known = asCategory(one('category', said[0], category))
  return subjects.auditsLike(
    known,
    one('app', said[1], app),
    asVerdict(one('verdict', said[2], verdict), known),
  )
}

function asCategory(name: string | undefined): AuditCategory | undefined {
  const known = auditCategories.find(category => category === name)
  if (name === undefined || known) return known
  throw new UsageError(`there is no category "${name}": choose ${auditCategories.join(', ')}`)
}

/** Nobody would ever see that one is misspelt: there is just nothing to show. */
function asVerdict(name: string | undefined, category: AuditCategory | undefined) {
  const all = category ? verdicts[category] : [...new Set(Object.values(verdicts).flat())]
  if (name === undefined || all.includes(name)) return name
  const place = category ? ` of category ${category}` : ''
  throw new UsageError(`there is no verdict "${name}"${place}: choose ${all.join(', ')}`)
}

function busAddress({ busUrlFile }: TailOptions, environment: Environment): BusAddress {
  const file = busUrlFile ?? environment.SALLYPORT_BUS_URL_FILE
  const value = file ? readSecret(file) : environment.SALLYPORT_BUS_URL
  if (!value) throw new UsageError('set SALLYPORT_BUS_URL to the bus with auditor credentials')
  const url = BusUrl.safeParse(value)
  if (!url.success) throw new UsageError(`SALLYPORT_BUS_URL ${url.error.issues[0]?.message}`)
  return { url: url.data, caPath: environment.SALLYPORT_BUS_CA_PATH }
}

function closing(connection: NatsConnection) {
  return { connection, [Symbol.asyncDispose]: () => connection.close() }
}

async function followStatus(connection: NatsConnection, isStored: boolean): Promise<void> {
  const after = isStored ? '' : '; events in between are not shown (--since shows them)'
  for await (const { type } of connection.status()) {
    if (type === 'disconnect') process.stderr.write('connection lost, waiting for the bus\n')
    if (type === 'reconnect') process.stderr.write(`connected again${after}\n`)
  }
}

function printer(options: TailOptions, environment: Environment): Show {
  const { json: asJson, user } = options
  const isColoured = process.stdout.isTTY === true && !environment.NO_COLOR
  let leftOut = 0
  return (text, subject) => {
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
