/** `publish`: an application of the private network, as it is to be, or what is to be otherwise with one that is there. */

import { Slug } from '#infra/contracts/application.ts'
import { ApplicationView } from '../admin-api/views.ts'
import type { PrincipalReference } from '../assignments.ts'
import { toSlug } from '../slug.ts'
import { type AllowOriginOption, allowOriginOf, withAllowOrigin } from './allow-origin-option.ts'
import { applicationPath, description } from './application-text.ts'
import { assign, assignments, principalOf } from './assignment-commands.ts'
import type { AdminClient } from './client.ts'
import type { ClientCommand } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { type LastLeaseOption, lastLeaseOf, withLastLease } from './last-lease-option.ts'
import { type OriginTlsOptions, originTlsOf, withOriginTls } from './origin-tls-options.ts'
import { type SignOnOptions, signOnOf, withSignOn } from './sign-on-options.ts'
import { print, printable, printJson } from './text.ts'
import { type TimeoutOptions, timeoutsOf, withTimeouts } from './timeout-options.ts'

interface PublishOptions
  extends TimeoutOptions,
    OriginTlsOptions,
    SignOnOptions,
    LastLeaseOption,
    AllowOriginOption {
  passthrough?: boolean
  http2?: boolean
  group?: string
  standbyGroup?: string | false
  assignUser: string[]
  assignGroup: string[]
  allUsers?: boolean
  externalUrl?: string
  json?: true
}

export function addPublishCommand(add: ClientCommand): void {
  add<[string], PublishOptions>(
    'publish <name=url>',
    'publish an application of the private network, or change how it is published',
    {
      setUp: command =>
        withTimeouts(
          withSignOn(withOriginTls(withLastLease(withAllowOrigin(command))))
            .option('--passthrough', 'let everybody in without signing in')
            .option('--no-passthrough', 'have them sign in again')
            .option('--http2', 'speak HTTP/2 with the application, as gRPC needs')
            .option('--no-http2', 'speak HTTP/1.1 with it again')
            .option('--group <id>', 'connector group that reaches the application')
            .option('--standby-group <id>', 'connector group that serves it while the first cannot')
            .option('--no-standby-group', 'none any more')
            .option('--assign-user <upn>', 'let this user in (repeatable)', collect, [])
            .option('--assign-group <name>', 'let this group in (repeatable)', collect, [])
            .option('--all-users', 'let every signed-in user in')
            .option('--no-all-users', 'only those who are assigned again')
            .option('--external-url <url>', 'address for users; made from the name unless given'),
        ),
      run: async ({ client, args: [argument], options }) => {
        const { id, displayName, internalUrl } = parseNameAndUrl(argument)
        const body = { ...publishBody(options, internalUrl), ...(displayName && { displayName }) }
        const principals = principalsOf(options)
        const { application, before } = await publish(client, { id, displayName, body })
        for (const principal of principals) await assign(client, application.id, principal)
        if (options.json) return printJson(application)
        const assigned = await assignments(client, application.id)
        print(beforeLine(before) + description(application, assigned))
      },
    },
  )
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value]
}

function parseNameAndUrl(argument: string) {
  const at = argument.indexOf('=')
  if (at < 1) throw new UsageError(`write NAME=URL, as in wiki=http://127.0.0.1:3000`)
  const name = argument.slice(0, at)
  const internalUrl = argument.slice(at + 1)
  if (!/^https?:\/\//i.test(internalUrl)) {
    throw new UsageError(`the URL of ${name} must begin with http:// or https://`)
  }
  if (Slug.safeParse(name).success) return { id: name, displayName: undefined, internalUrl }
  const id = toSlug(name)
  if (Slug.safeParse(id).success) return { id, displayName: name, internalUrl }
  throw new UsageError(`"${name}" has no Latin letter or digit to make an id from`)
}

function publishBody(options: PublishOptions, internalUrl: string) {
  const { passthrough, http2, group, standbyGroup, allUsers, externalUrl } = options
  return {
    ...(group !== undefined && { connectorGroupId: group }),
    ...(standbyGroup !== undefined && { standbyConnectorGroupId: standbyGroup || null }),
    ...(allUsers !== undefined && { appRoleAssignmentRequired: !allUsers }),
    onPremisesPublishing: {
      internalUrl,
      ...(externalUrl !== undefined && { externalUrl }),
      ...(passthrough && { externalAuthenticationType: 'passthru' }),
      ...((passthrough === false || (allUsers && !passthrough)) && {
        externalAuthenticationType: 'aadPreAuthentication',
      }),
      ...(http2 !== undefined && { originHttpVersion: http2 ? 'http2' : 'http1' }),
      ...originTlsOf(options, internalUrl),
      ...timeoutsOf(options),
      ...lastLeaseOf(options),
      ...allowOriginOf(options),
      singleSignOnSettings: signOnOf(options),
    },
  }
}

interface Published {
  application: ApplicationView
  /** As it was, if it was there. */
  before?: ApplicationView
}

interface Publication {
  id: string
  displayName: string | undefined
  body: object
}

async function publish(
  client: AdminClient,
  { id, displayName, body }: Publication,
): Promise<Published> {
  const answer = ApplicationView
  const present = await client.find({ path: applicationPath(id), answer })
  if (!present) {
    const created = {
      method: 'POST',
      path: '/applications',
      body: { id, ...body },
      answer,
    } as const
    return { application: await client.call(created) }
  }
  if (displayName !== undefined && plain(displayName) !== plain(present.displayName))
    throw takenBy(present, displayName)
  const application = await client.call({
    method: 'PATCH',
    path: applicationPath(id),
    body,
    headers: { prefer: 'return=representation', 'if-match': present['@odata.etag'] },
    answer,
  })
  return { application, before: present }
}

/** Whoever meant a new one sees what it has replaced. */
function beforeLine(before: ApplicationView | undefined): string {
  if (!before?.onPremisesPublishing) return ''
  const { internalUrl } = before.onPremisesPublishing
  const line = `${before.id} was published already, for ${internalUrl}, and is changed.`
  return `${printable(line)}\n`
}

/** Several names make the same id: who publishes a "C++" does not mean the "C" that is there, with all its users. */
function takenBy({ id, displayName }: ApplicationView, name: string): CommandFailure {
  const fix = `choose another name, or change that one: sallyport publish ${id}=URL`
  return new CommandFailure(`"${name}" has the id of "${displayName}", which is ${id}; ${fix}`)
}

/** "Our Docs" is what was called our-docs before, or "our docs". */
function plain(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/[\s_-]+/g, '-')
}

function principalsOf({ assignUser, assignGroup }: PublishOptions): PrincipalReference[] {
  return [
    ...assignUser.map(name => principalOf('User', name, '--assign-user')),
    ...assignGroup.map(name => principalOf('Group', name, '--assign-group')),
  ]
}
