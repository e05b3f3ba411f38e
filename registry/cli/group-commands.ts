/** Commands for connector groups. */

import { z } from 'zod'
import { ConnectorGroupView as GroupAnswer } from '../admin-api/views.ts'
import type { ClientCommand } from './command.ts'
import { print, printable, printJson, table, tell } from './text.ts'

const path = '/onPremisesPublishingProfiles/applicationProxy/connectorGroups'

export function addGroupCommands(add: ClientCommand): void {
  add('groups', 'list the connector groups', {
    run: async ({ client, options }) => {
      const groups = await client.list(path, GroupAnswer)
      if (options.json) return printJson(groups)
      print(
        table(
          ['ID', 'NAME', 'CREATED'],
          groups.map(({ id, name, createdDateTime }) => [id, name, createdDateTime]),
        ),
      )
    },
  })
  add<[string]>('create-group <name>', 'create a connector group', {
    run: async ({ client, args: [name], options }) => {
      const group = await client.call({ method: 'POST', path, body: { name }, answer: GroupAnswer })
      if (options.json) return printJson(group)
      print(
        `connector group ${group.id} exists; to add a connector: sallyport connector-token --group ${group.id}\n`,
      )
    },
  })
  add<[string]>('delete-group <id>', 'delete a connector group that nothing uses', {
    run: async ({ client, args: [id], options }) => {
      const url = `${path}/${encodeURIComponent(id)}`
      await client.call({ method: 'DELETE', path: url, answer: z.undefined() })
      tell(options, { id }, `connector group ${printable(id)} is gone`)
    },
  })
}
