/** Who may use an application: `assign`, `unassign`, and what `publish` does of it. */

import { type Command, Option } from 'commander'
import { z } from 'zod'
import { AppRoleAssignment } from '#infra/contracts/application.ts'
import { AppRoleAssignmentView } from '../admin-api/views.ts'
import type { PrincipalReference } from '../assignments.ts'
import { type AdminClient, RefusedBySystem } from './client.ts'
import type { ClientCommand } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { printable, tell } from './text.ts'

interface PrincipalOptions {
  user?: string
  group?: string
  json?: true
}

export function addAssignmentCommands(add: ClientCommand): void {
  addAssign(add)
  addUnassign(add)
}

function addAssign(add: ClientCommand): void {
  add<[string], PrincipalOptions>('assign <app>', 'let a user or group use an application', {
    setUp: withPrincipal,
    run: async ({ client, args: [name], options }) => {
      const principal = onePrincipal(options)
      const isNew = await assign(client, name, principal)
      const may = isNew ? 'may now' : 'may already'
      tell(options, done(name, principal), `${whoIs(principal)} ${may} use ${printable(name)}`)
    },
  })
}

function addUnassign(add: ClientCommand): void {
  add<[string], PrincipalOptions>('unassign <app>', 'take that away again', {
    setUp: withPrincipal,
    run: async ({ client, args: [name], options }) => {
      const principal = onePrincipal(options)
      const { principalType, principalId } = principal
      const found = (await assignments(client, name)).find(
        assignment =>
          assignment.principalType === principalType &&
          assignment.principalId.toLowerCase() === principalId.toLowerCase(),
      )
      if (!found) throw new CommandFailure(`${whoIs(principal)} is not assigned to ${name}`)
      const path = `${assignedToPath(name)}/${encodeURIComponent(found.id)}`
      await client.call({ method: 'DELETE', path, answer: z.undefined() })
      const sentence = `${whoIs(principal)} may no longer use ${printable(name)}`
      tell(options, done(name, principal), sentence)
    },
  })
}

function whoIs({ principalType, principalId }: PrincipalReference): string {
  return `${principalType === 'Group' ? 'group ' : ''}${printable(principalId)}`
}

/** As the admin API calls it. */
function done(resourceId: string, { principalType, principalId }: PrincipalReference) {
  return { resourceId, principalType, principalId }
}

function withPrincipal(command: Command): Command {
  return command
    .addOption(new Option('--user <upn>', 'user principal name').conflicts('group'))
    .addOption(new Option('--group <name>', 'group, as the identity provider calls it'))
}

function onePrincipal({ user, group }: PrincipalOptions): PrincipalReference {
  if (user !== undefined) return principalOf('User', user, '--user')
  if (group !== undefined) return principalOf('Group', group, '--group')
  throw new UsageError('say who: --user UPN or --group NAME')
}

/** What the system would refuse is refused before anything is done: publishing and assigning are two requests. */
export function principalOf(
  principalType: PrincipalReference['principalType'],
  principalId: string,
  option: string,
): PrincipalReference {
  if (AppRoleAssignment.shape.principalId.safeParse(principalId).success)
    return { principalType, principalId }
  throw new UsageError(`${option} must be a name of 1 to 256 characters`)
}

/** False when it was so already. */
export async function assign(
  client: AdminClient,
  id: string,
  principal: PrincipalReference,
): Promise<boolean> {
  try {
    await client.call({
      method: 'POST',
      path: assignedToPath(id),
      body: principal,
      answer: AppRoleAssignmentView,
    })
    return true
  } catch (error) {
    if (error instanceof RefusedBySystem && error.code === 'already_exists') return false
    throw error
  }
}

export function assignments(client: AdminClient, id: string): Promise<AppRoleAssignmentView[]> {
  return client.list(assignedToPath(id), AppRoleAssignmentView)
}

function assignedToPath(id: string): string {
  return `/servicePrincipals/${encodeURIComponent(id)}/appRoleAssignedTo`
}
