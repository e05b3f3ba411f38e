/** Commands for applications: publish, look, assign, unpublish. */

import { type Command, Option } from 'commander'
import { z } from 'zod'
import { AppRoleAssignment, Slug } from '#infra/contracts/application.ts'
import {
  ApplicationView as ApplicationAnswer,
  type ApplicationView,
  type AppRoleAssignmentView,
  AppRoleAssignmentView as AssignmentAnswer,
} from '../admin-api/views.ts'
import type { PrincipalReference } from '../assignments.ts'
import { toSlug } from '../slug.ts'
import { type AdminClient, RefusedBySystem } from './client.ts'
import type { ClientCommand } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import {
  type LastLeaseOption,
  lastLeaseLines,
  lastLeaseOf,
  withLastLease,
} from './last-lease-option.ts'
import {
  type OriginTlsOptions,
  originTlsLines,
  originTlsOf,
  withOriginTls,
} from './origin-tls-options.ts'
import { type SignOnOptions, signOnLines, signOnOf, withSignOn } from './sign-on-options.ts'
import { print, printable, printJson, table } from './text.ts'
import { type TimeoutOptions, timeoutsOf, withTimeouts } from './timeout-options.ts'

interface PublishOptions extends TimeoutOptions, OriginTlsOptions, SignOnOptions, LastLeaseOption {
  passthrough?: true
  http2?: true
  group?: string
  standbyGroup?: string | false
  assignUser: string[]
  assignGroup: string[]
  allUsers?: true
  externalUrl?: string
  json?: true
}

interface PrincipalOptions {
  user?: string
  group?: string
  json?: true
}

export function addApplicationCommands(add: ClientCommand): void {
  addPublish(add)
  add<[string]>('unpublish <name>', 'end the publishing of an application', {
    run: async ({ client, args: [name] }) => {
      await client.call({ method: 'DELETE', path: pathOf(name), answer: z.undefined() })
      print(`${printable(name)} is no longer published\n`)
    },
  })
  add('applications', 'list the published applications', {
    run: async ({ client, options }) => {
      const all = await client.list('/applications', ApplicationAnswer)
      if (options.json) return printJson(all)
      print(all.length === 0 ? 'Nothing is published yet.\n' : applicationTable(all))
    },
  })
  add<[string]>('show <app>', 'show one application and who may use it', {
    run: async ({ client, args: [name], options }) => {
      const application = await client.call({ path: pathOf(name), answer: ApplicationAnswer })
      const assigned = await assignments(client, application.id)
      if (options.json) return printJson({ ...application, appRoleAssignedTo: assigned })
      print(description(application, assigned))
    },
  })
  addAssign(add)
  addUnassign(add)
}

function addPublish(add: ClientCommand): void {
  add<[string], PublishOptions>(
    'publish <name=url>',
    'publish an application of the private network, or change how it is published',
    {
      setUp: command =>
        withTimeouts(
          withSignOn(withOriginTls(withLastLease(command)))
            .option('--passthrough', 'let everybody in without signing in')
            .option('--http2', 'speak HTTP/2 with the application, as gRPC needs')
            .option('--group <id>', 'connector group that reaches the application')
            .option('--standby-group <id>', 'connector group that serves it while the first cannot')
            .option('--no-standby-group', 'none any more')
            .option('--assign-user <upn>', 'let this user in (repeatable)', collect, [])
            .option('--assign-group <name>', 'let this group in (repeatable)', collect, [])
            .option('--all-users', 'let every signed-in user in')
            .option('--external-url <url>', 'address for users; made from the name unless given'),
        ),
      run: async ({ client, args: [argument], options }) => {
        const { id, displayName, internalUrl } = parseNameAndUrl(argument)
        const body = { ...publishBody(options, internalUrl), ...(displayName && { displayName }) }
        const principals = principalsOf(options)
        const application = await publish(client, { id, displayName, body })
        for (const principal of principals) await assign(client, application.id, principal)
        if (options.json) return printJson(application)
        print(description(application, await assignments(client, application.id)))
      },
    },
  )
}

function addAssign(add: ClientCommand): void {
  add<[string], PrincipalOptions>('assign <app>', 'let a user or group use an application', {
    setUp: withPrincipal,
    run: async ({ client, args: [name], options }) => {
      const principal = onePrincipal(options)
      const isNew = await assign(client, name, principal)
      const who = printable(principal.principalId)
      print(`${who} ${isNew ? 'may now' : 'may already'} use ${printable(name)}\n`)
    },
  })
}

function addUnassign(add: ClientCommand): void {
  add<[string], PrincipalOptions>('unassign <app>', 'take that away again', {
    setUp: withPrincipal,
    run: async ({ client, args: [name], options }) => {
      const { principalType, principalId } = onePrincipal(options)
      const found = (await assignments(client, name)).find(
        assignment =>
          assignment.principalType === principalType &&
          assignment.principalId.toLowerCase() === principalId.toLowerCase(),
      )
      if (!found) throw new CommandFailure(`${principalId} is not assigned to ${name}`)
      const path = `${assignedToPath(name)}/${encodeURIComponent(found.id)}`
      await client.call({ method: 'DELETE', path, answer: z.undefined() })
      print(`${printable(principalId)} may no longer use ${printable(name)}\n`)
    },
  })
}

function withPrincipal(command: Command): Command {
  return command
    .addOption(new Option('--user <upn>', 'user principal name').conflicts('group'))
    .addOption(new Option('--group <name>', 'group, as the identity provider calls it'))
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
    ...(allUsers && { appRoleAssignmentRequired: false }),
    onPremisesPublishing: {
      internalUrl,
      ...(externalUrl !== undefined && { externalUrl }),
      ...(passthrough && { externalAuthenticationType: 'passthru' }),
      ...(allUsers && !passthrough && { externalAuthenticationType: 'aadPreAuthentication' }),
      ...(http2 && { originHttpVersion: 'http2' }),
      ...originTlsOf(options),
      ...timeoutsOf(options),
      ...lastLeaseOf(options),
      singleSignOnSettings: signOnOf(options),
    },
  }
}

interface Publication {
  id: string
  displayName: string | undefined
  body: object
}

async function publish(
  client: AdminClient,
  { id, displayName, body }: Publication,
): Promise<ApplicationView> {
  const answer = ApplicationAnswer
  const present = await client.find({ path: pathOf(id), answer })
  if (!present)
    return client.call({ method: 'POST', path: '/applications', body: { id, ...body }, answer })
  if (displayName !== undefined && plain(displayName) !== plain(present.displayName))
    throw takenBy(present, displayName)
  return client.call({
    method: 'PATCH',
    path: pathOf(id),
    body,
    headers: { prefer: 'return=representation', 'if-match': present['@odata.etag'] },
    answer,
  })
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

function onePrincipal({ user, group }: PrincipalOptions): PrincipalReference {
  if (user !== undefined) return principalOf('User', user, '--user')
  if (group !== undefined) return principalOf('Group', group, '--group')
  throw new UsageError('say who: --user UPN or --group NAME')
}

/** What the system would refuse is refused before anything is done: publishing and assigning are two requests. */
function principalOf(
  principalType: PrincipalReference['principalType'],
  principalId: string,
  option: string,
): PrincipalReference {
  if (AppRoleAssignment.shape.principalId.safeParse(principalId).success)
    return { principalType, principalId }
  throw new UsageError(`${option} must be a name of 1 to 256 characters`)
}

/** False when it was so already. */
async function assign(
  client: AdminClient,
  id: string,
  principal: PrincipalReference,
): Promise<boolean> {
  try {
    await client.call({
      method: 'POST',
      path: assignedToPath(id),
      body: principal,
      answer: AssignmentAnswer,
    })
    return true
  } catch (error) {
    if (error instanceof RefusedBySystem && error.code === 'already_exists') return false
    throw error
  }
}

function assignments(client: AdminClient, id: string): Promise<AppRoleAssignmentView[]> {
  return client.list(assignedToPath(id), AssignmentAnswer)
}

function pathOf(id: string): string {
  return `/applications/${encodeURIComponent(id)}`
}

function assignedToPath(id: string): string {
  return `/servicePrincipals/${encodeURIComponent(id)}/appRoleAssignedTo`
}

function applicationTable(all: ApplicationView[]): string {
  return table(
    ['ID', 'NAME', 'EXTERNAL URL', 'INTERNAL URL', 'GROUP', 'FOR'],
    all.map(application => [
      application.id,
      application.displayName,
      application.onPremisesPublishing?.externalUrl ?? 'not published',
      application.onPremisesPublishing?.internalUrl ?? '-',
      application.connectorGroupId,
      audienceOf(application),
    ]),
  )
}

function audienceOf({ onPremisesPublishing, appRoleAssignmentRequired }: ApplicationView): string {
  if (onPremisesPublishing?.externalAuthenticationType === 'passthru') return 'everybody'
  return appRoleAssignmentRequired ? 'assigned users' : 'all signed-in users'
}

function description(application: ApplicationView, assigned: AppRoleAssignmentView[]): string {
  const { id, displayName, connectorGroupId, standbyConnectorGroupId } = application
  const { onPremisesPublishing } = application
  const title = displayName === id ? id : `${id} (${displayName})`
  const audience = audienceOf(application)
  const isForAssigned = audience === 'assigned users'
  const users = assigned.map(({ principalType, principalId }) =>
    principalType === 'Group' ? `group ${principalId}` : principalId,
  )
  const nobody = `nobody yet: sallyport assign ${id} --user UPN`
  const published = [
    `${title} is published at ${onPremisesPublishing?.externalUrl}`,
    `  internal URL     ${onPremisesPublishing?.internalUrl}`,
  ]
  const lines = [
    ...(onPremisesPublishing
      ? published
      : [`${title} is not published: sallyport publish ${id}=URL`]),
    ...(onPremisesPublishing ? originTlsLines(onPremisesPublishing) : []),
    ...signOnLines(onPremisesPublishing?.singleSignOnSettings),
    ...(onPremisesPublishing ? lastLeaseLines(onPremisesPublishing) : []),
    `  connector group  ${connectorGroupId}`,
    ...(standbyConnectorGroupId === null ? [] : [`  standby group    ${standbyConnectorGroupId}`]),
    `  for              ${isForAssigned ? users.join(', ') || nobody : audience}`,
  ]
  return lines.map(line => `${printable(line)}\n`).join('')
}
