/** Commands for connectors: who is there, what one of them does, and where it belongs. */

import { z } from 'zod'
import { ConnectorView as ConnectorAnswer, type ConnectorView } from '../admin-api/views.ts'
import type { AdminClient } from './client.ts'
import type { ClientCommand } from './command.ts'
import { ago, bytes } from './quantities.ts'
import { print, printable, printJson, table, tell } from './text.ts'

const path = '/onPremisesPublishingProfiles/applicationProxy/connectors'

export function addConnectorCommands(add: ClientCommand): void {
  add('connectors', 'list the connectors and how busy they are', {
    run: async ({ client, options }) => {
      const connectors = await client.list(path, ConnectorAnswer)
      if (options.json) return printJson(connectors.map(forPrograms))
      print(connectors.length === 0 ? 'There is no connector yet.\n' : connectorTable(connectors))
    },
  })
  add<[string]>('show-connector <id>', 'show one connector and what it carries', {
    run: async ({ client, args: [id], options }) => {
      const connector = await client.call({ path: pathOf(id), answer: ConnectorAnswer })
      if (options.json) return printJson(forPrograms(connector))
      print(description(connector))
    },
  })
  add<[string], { group: string }>('move-connector <id>', 'move a connector to another group', {
    setUp: command => command.requiredOption('--group <id>', 'the connector group'),
    run: async ({ client, args: [id], options }) => {
      const connector = await change(client, id, { connectorGroupId: options.group })
      if (options.json) return printJson(forPrograms(connector))
      print(`connector ${printable(id)} belongs to ${printable(options.group)} now\n`)
    },
  })
  addSwitch(
    add,
    'disable-connector <id>',
    'end its connections at once and let it not return',
    false,
  )
  addSwitch(add, 'enable-connector <id>', 'let a disabled connector connect again', true)
  add<[string]>('remove-connector <id>', 'remove a connector; its certificate counts no more', {
    run: async ({ client, args: [id], options }) => {
      await client.call({ method: 'DELETE', path: pathOf(id), answer: z.undefined() })
      const sentence = `connector ${printable(id)} is removed; to use its host again, enrol it again`
      tell(options, { id }, sentence)
    },
  })
}

function addSwitch(add: ClientCommand, usage: string, does: string, isEnabled: boolean): void {
  add<[string]>(usage, does, {
    run: async ({ client, args: [id], options }) => {
      const connector = await change(client, id, { isEnabled })
      if (options.json) return printJson(forPrograms(connector))
      print(`connector ${printable(id)} is ${isEnabled ? 'enabled' : 'disabled'}\n`)
    },
  })
}

function change(client: AdminClient, id: string, body: object): Promise<ConnectorView> {
  return client.call({ method: 'PATCH', path: pathOf(id), body, answer: ConnectorAnswer })
}

function pathOf(id: string): string {
  return `${path}/${encodeURIComponent(id)}`
}

/** The group under the short name that scripts look for, too. */
function forPrograms(connector: ConnectorView) {
  const { id, connectorGroupId: group, status, version, machineName, lastSeen, ...more } = connector
  return { id, group, status, version, machineName, lastSeen, connectorGroupId: group, ...more }
}

function connectorTable(connectors: ConnectorView[]): string {
  return table(
    ['ID', 'GROUP', 'STATUS', 'LOAD', 'CARRIED', 'VERSION', 'MACHINE', 'LAST SEEN'],
    connectors.map(connector => [
      connector.id,
      connector.connectorGroupId,
      conditionOf(connector),
      `${connector.load.openExchanges}/${connector.load.maxExchanges}`,
      connector.lastByteDateTime === null ? '-' : ago(connector.lastByteDateTime),
      connector.version,
      connector.machineName,
      ago(connector.lastSeen),
    ]),
  )
}

/** In one or two words: what an administrator did comes before what the connector says. */
function conditionOf(connector: ConnectorView): string {
  const { status, state, isEnabled, servedGroupId, connectorGroupId, notReady } = connector
  if (status === 'active' && connector.problems.length > 0 && isEnabled) return 'active, PROBLEM'
  if (!isEnabled) return 'disabled'
  if (status === 'inactive') return 'inactive'
  if (servedGroupId !== null && servedGroupId !== connectorGroupId)
    return `active, still in ${servedGroupId}`
  if (state !== null && state !== 'serving') return `active, ${state}`
  return notReady.length > 0 ? `active, ${notReady.length} not ready` : 'active'
}

function description(connector: ConnectorView): string {
  const { id, connectorGroupId, machineName, version, address, externalIp, load } = connector
  const seen = [externalIp, address].filter(one => one !== null)
  const rows: [string, string][] = [
    ['status', `${conditionOf(connector)}, last seen ${ago(connector.lastSeen)}`],
    ['connector group', connectorGroupId],
    ['machine', `${machineName} (${[...new Set(seen)].join(', ') || 'address not known'})`],
    ['version', version],
    ['started', connector.startedDateTime === null ? 'never' : ago(connector.startedDateTime)],
    ['load', `${load.openExchanges} of ${load.maxExchanges} exchanges`],
    ['served', `${connector.exchangesServed} exchanges, ${bytes(connector.carriedBytes)}`],
    [
      'last byte',
      connector.lastByteDateTime === null ? 'none yet' : ago(connector.lastByteDateTime),
    ],
    ...certificateRows(connector),
    ...connector.problems.map((problem): [string, string] => ['PROBLEM', problem]),
  ]
  const lines = rows.map(([name, value]) => `  ${name.padEnd(16)} ${printable(value)}\n`)
  return `${printable(id)}\n${lines.join('')}${applicationsOf(connector)}`
}

function certificateRows({ certificates }: ConnectorView): [string, string][] {
  const latest = certificates
    .map(({ notAfter }) => notAfter)
    .toSorted()
    .at(-1)
  return latest === undefined ? [] : [['certificate', `until ${latest}`]]
}

/** What it could not reach, then what it carried most recently. */
function applicationsOf({ notReady, carried }: ConnectorView): string {
  const down = new Set(notReady.map(({ applicationId }) => applicationId))
  const rows = [
    ...notReady.map(({ applicationId, reason }) => {
      const known = carried.find(one => one.applicationId === applicationId)
      return [applicationId, `not ready: ${reason}`, ...amounts(known)]
    }),
    ...carried
      .filter(({ applicationId }) => !down.has(applicationId))
      .map(one => [one.applicationId, 'ready', ...amounts(one)]),
  ]
  if (rows.length === 0) return ''
  return `\n${table(['APPLICATION', 'HEALTH', 'EXCHANGES', 'BYTES', 'LAST BYTE'], rows)}`
}

function amounts(carried: ConnectorView['carried'][number] | undefined): string[] {
  if (!carried) return ['-', '-', '-']
  const { exchanges, bytes: amount, lastByteDateTime: last } = carried
  return [String(exchanges), bytes(amount), last === null ? '-' : ago(last)]
}
