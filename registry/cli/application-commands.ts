/** Commands for applications: look at them, and end their publishing. Others: publish-command.ts, assignment-commands.ts. */

import { z } from 'zod'
import { ApplicationView } from '../admin-api/views.ts'
import { applicationPath, applicationTable, description } from './application-text.ts'
import { addAssignmentCommands, assignments } from './assignment-commands.ts'
import type { ClientCommand } from './command.ts'
import { addPublishCommand } from './publish-command.ts'
import { print, printable, printJson, tell } from './text.ts'

export function addApplicationCommands(add: ClientCommand): void {
  addPublishCommand(add)
  add<[string]>('unpublish <name>', 'end the publishing of an application', {
    run: async ({ client, args: [name], options }) => {
      await client.call({ method: 'DELETE', path: applicationPath(name), answer: z.undefined() })
      tell(options, { id: name }, `${printable(name)} is no longer published`)
    },
  })
  add('applications', 'list the published applications', {
    run: async ({ client, options }) => {
      const all = await client.list('/applications', ApplicationView)
      if (options.json) return printJson(all)
      print(all.length === 0 ? 'Nothing is published yet.\n' : applicationTable(all))
    },
  })
  add<[string]>('show <app>', 'show one application and who may use it', {
    run: async ({ client, args: [name], options }) => {
      const application = await client.call({
        path: applicationPath(name),
        answer: ApplicationView,
      })
      const assigned = await assignments(client, application.id)
      if (options.json) return printJson({ ...application, appRoleAssignedTo: assigned })
      print(description(application, assigned))
    },
  })
  addAssignmentCommands(add)
}
