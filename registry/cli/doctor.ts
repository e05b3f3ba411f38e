/**
 * `sallyport doctor APP`: walks the way of a request, from where this command runs to the application, and names the hop
 * where it ends and what to do about it. What lies behind the gateway the system looks at by itself.
 */

import type { Hop } from '#infra/contracts/diagnosis.ts'
import { DiagnosisView } from '../admin-api/diagnosis-routes.ts'
import type { ClientCommand } from './command.ts'
import { walkToGateway } from './doctor-walk.ts'
import { print, printable, printJson } from './text.ts'

interface DoctorOptions {
  user?: string
}

export function addDoctorCommand(add: ClientCommand): void {
  add<[string], DoctorOptions>(
    'doctor <app>',
    'walk the way to an application and say where it ends',
    {
      setUp: command =>
        command.option('--user <upn>', 'try policy and single sign-on in the name of this user'),
      run: async ({ client, args: [name], options }) => {
        const { user } = options
        const path = `/applications/${encodeURIComponent(name)}/diagnose`
        const body = { ...(user !== undefined && { user }) }
        const answer = DiagnosisView
        const found = await client.call({ method: 'POST', path, body, answer })
        const outside = await walkToGateway(new URL(found.externalUrl), found)
        const diagnosis = { ...found, hops: [...outside, ...found.hops] }
        if (options.json) printJson(diagnosis)
        else print(textOf(diagnosis))
        if (!wayOf(diagnosis)) process.exitCode = 1
      },
    },
  )
}

type Connector = DiagnosisView['connectors'][number]

/**
 * The connector that requests get through: one is enough for users, the others are worth a look. The standby group is
 * asked when none of the application's own group is online or reaches it, and for no other reason.
 */
function wayOf({ hops, connectors }: DiagnosisView): Connector | undefined {
  if (!hops.every(isPassed)) return undefined
  const { own = [], standby = [] } = Object.groupBy(connectors, ({ isStandby }) =>
    isStandby ? 'standby' : 'own',
  )
  const serving = own.some(reachesOrigin) ? own : [...own, ...standby]
  return serving.find(({ hops }) => hops.every(isPassed))
}

const isPassed = ({ outcome }: Hop) => outcome !== 'failed'

const afterConnection: readonly string[] = ['origin', 'sign-on']

function reachesOrigin({ hops }: Connector): boolean {
  return hops.every(hop => isPassed(hop) || afterConnection.includes(hop.hop))
}

function textOf(diagnosis: DiagnosisView): string {
  const { application, externalUrl, hops, connectors } = diagnosis
  const lines = [
    `${application} at ${externalUrl}`,
    ...hops.flatMap(linesOf),
    ...connectors.flatMap(each => [titleOf(each), ...each.hops.flatMap(linesOf)]),
    outcomeOf(diagnosis),
  ]
  return lines.map(line => `${printable(line)}\n`).join('')
}

function titleOf({ id, connectorGroupId, isStandby }: Connector): string {
  return isStandby ? `connector ${id} of the standby group ${connectorGroupId}` : `connector ${id}`
}

function outcomeOf(diagnosis: DiagnosisView): string {
  const way = wayOf(diagnosis)
  if (!way) return `Requests do not get through: ${firstFailure(diagnosis)}`
  return way.isStandby
    ? `Requests get through, by the standby group ${way.connectorGroupId}.`
    : 'Requests get through.'
}

const marks = { ok: 'ok', failed: 'FAILED', skipped: '-' } as const

function linesOf({ hop, outcome, detail, fix }: Hop): string[] {
  const line = `  ${marks[outcome].padEnd(8)}${hop.padEnd(18)}${detail}`
  return fix === undefined ? [line] : [line, `${' '.repeat(28)}${fix}`]
}

function firstFailure({ hops, connectors }: DiagnosisView): string {
  const all = [...hops, ...connectors.flatMap(({ hops }) => hops)]
  const failure = all.find(hop => !isPassed(hop))
  return failure ? `${failure.hop}: ${failure.detail}` : 'there is no connector'
}
