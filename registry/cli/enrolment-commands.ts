/** Commands that let connectors in: a token for a new one, consent for one whose certificate has expired. */

import { EnrolmentTokenView, RenewalConsentView } from '../admin-api/views.ts'
import type { ClientCommand } from './command.ts'
import { UsageError } from './failure.ts'
import { print, printable, printJson } from './text.ts'

const profile = '/onPremisesPublishingProfiles/applicationProxy'

export function addEnrolmentCommands(add: ClientCommand): void {
  add<[], { group: string; lifetime: string }>(
    'connector-token',
    'make a one-time token that enrols one connector',
    {
      setUp: command =>
        command
          .option('--group <id>', 'the connector group that it is bound to', 'default')
          .option('--lifetime <time>', 'how long it is good, as 10m; an hour at most', '1h'),
      run: async ({ client, options }) => {
        const token = await client.call({
          method: 'POST',
          path: `${profile}/connectorEnrolmentTokens`,
          body: {
            connectorGroupId: options.group,
            lifetimeInSeconds: secondsOf(options.lifetime),
          },
          answer: EnrolmentTokenView,
        })
        if (options.json) return printJson(token)
        print(`${token.token}\n`)
        process.stderr.write(hint(token))
      },
    },
  )
  add<[string], { group?: string }>(
    'renew-connector <id>',
    'let a connector renew its expired certificate, within a day',
    {
      setUp: command => command.option('--group <id>', 'for a connector that is forgotten already'),
      run: async ({ client, args: [id], options }) => {
        const consent = await client.call({
          method: 'POST',
          path: `${profile}/connectors/${encodeURIComponent(id)}/allowRenewal`,
          body: { ...(options.group !== undefined && { connectorGroupId: options.group }) },
          answer: RenewalConsentView,
        })
        if (options.json) return printJson(consent)
        print(
          `connector ${printable(id)} may renew its certificate once, within a day; it asks by itself while it runs\n`,
        )
      },
    },
  )
}

/** On standard error: standard output is the token alone, for a file. */
function hint({ connectorGroupId, expiresDateTime }: EnrolmentTokenView): string {
  return (
    `For one connector of the group ${printable(connectorGroupId)}, until ${printable(expiresDateTime)}. ` +
    `On its host: sallyport connector --enroll-with-token-from FILE\n`
  )
}

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 }

function secondsOf(text: string): number {
  const [, amount, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? []
  const seconds = Number(amount) * (units[unit] ?? Number.NaN)
  if (seconds >= 1 && seconds <= 3_600) return seconds
  throw new UsageError(`--lifetime must be from 1s to 1h, as 30m, not "${printable(text)}"`)
}
