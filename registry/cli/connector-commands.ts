/** Commands for connector groups and connectors. */

import { z } from 'zod'
import {
  ConnectorView as ConnectorAnswer,
  type ConnectorView,
  ConnectorGroupView as GroupAnswer,
} from '../admin-api/views.ts'
import type { ClientCommand } from './command.ts'
import { print, printable, printJson, table } from './text.ts'

const profile = '/onPremisesPublishingProfiles/applicationProxy'

export function addConnectorCommands(add: ClientCommand): void {
  add('groups', 'list the connector groups', {
    run: async ({ client, options }) => {
      const groups = await client.list(`${profile}/connectorGroups`, GroupAnswer)
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
      const path = `${profile}/connectorGroups`
      const group = await client.call({ method: 'POST', path, body: { name }, answer: GroupAnswer })
      if (options.json) return printJson(group)
      print(
        `connector group ${group.id} exists; start connectors with SALLYPORT_CONNECTOR_GROUP=${group.id}\n`,
      )
    },
  })
  add<[string]>('delete-group <id>', 'delete a connector group that nothing uses', {
    run: async ({ client, args: [id] }) => {
      const path = `${profile}/connectorGroups/${encodeURIComponent(id)}`
      await client.call({ method: 'DELETE', path, answer: z.undefined() })
      print(`connector group ${printable(id)} is gone\n`)
    },
  })
  add('connectors', 'list the connectors and how busy they are', {
    run: async ({ client, options }) => {
      const connectors = await client.list(`${profile}/connectors`, ConnectorAnswer)
      if (options.json) return printJson(connectors)
      print(
        connectors.length === 0 ? 'No connector has reported yet.\n' : connectorTable(connectors),
      )
    },
  })
}

function connectorTable(connectors: ConnectorView[]): string {
  return table(
    ['ID', 'GROUP', 'STATUS', 'LOAD', 'VERSION', 'MACHINE', 'LAST SEEN'],
    connectors.map(({ id, connectorGroupId, status, state, load, ...rest }) => [
      id,
      connectorGroupId,
      status === 'active' && state !== 'serving' ? `active, ${state}` : status,
      `${load.openExchanges}/${load.maxExchanges}`,
      rest.version,
      rest.machineName,
      ago(rest.lastSeen),
    ]),
  )
}

function ago(dateTime: string): string {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(dateTime)) / 1000))
  if (seconds < 120) return `${seconds} s ago`
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min ago`
  return new Date(dateTime).toISOString()
}
