/** The form that all client commands share: how they find the system, where secrets may not stand, how they end. */

import { type Command, Option } from 'commander'
import type { Environment } from '#infra/config.ts'
import {
  type AdminClient,
  type ConnectionOptions,
  connectAdmin,
  RefusedBySystem,
} from './client.ts'
import { CommandFailure, report, UsageError } from './failure.ts'

export interface CommonOptions extends ConnectionOptions {
  json?: true
}

export interface Invocation<Args, Options> {
  readonly client: AdminClient
  readonly args: Args
  readonly options: Options & CommonOptions
}

export interface Behaviour<Args, Options> {
  /** Adds the command's own options. */
  setUp?: (command: Command) => Command
  run: (invocation: Invocation<Args, Options>) => Promise<void>
}

/** Adds one command that talks to the admin API. */
export type ClientCommand = <Args extends string[] = [], Options extends object = object>(
  usage: string,
  description: string,
  behaviour: Behaviour<Args, Options>,
) => void

/** Exit status of a wrong call. */
const wrongUsage = 2

export function clientCommands(program: Command, environment: Environment): ClientCommand {
  return (usage, description, { setUp, run }) => {
    const command = baseCommand(program, usage, description)
      .option('--admin-url <url>', 'address of the admin API (SALLYPORT_ADMIN_URL)')
      .option('--admin-token-file <path>', 'file with the token (or set SALLYPORT_ADMIN_TOKEN)')
      .option('--json', 'answer for programs')
    addRefusedSecret(command, '--admin-token <token>')
    setUp?.(command)
    command.action(async (...parameters: unknown[]) => {
      // commander adds the options and the command itself to the arguments.
      const args = parameters.slice(0, -2) as never
      const options = command.opts<never>()
      await ending(async () => {
        const { adminToken } = command.opts<{ adminToken?: string }>()
        refuseEmpty(command)
        refuseSecret(adminToken, '--admin-token', '--admin-token-file or SALLYPORT_ADMIN_TOKEN')
        const client = connectAdmin(options, environment)
        await inOptions(command, () => run({ client, args, options }))
      })
    })
  }
}

/** The option that says a property of the admin API: who gave one does not know the other. */
const optionOf: Readonly<Record<string, string>> = {
  connectorGroupId: '--group',
  standbyConnectorGroupId: '--standby-group',
  'onPremisesPublishing.internalUrl': '<name=url>',
  'onPremisesPublishing.externalUrl': '--external-url',
  'onPremisesPublishing.connectTimeoutInSeconds': '--connect-timeout',
  'onPremisesPublishing.firstByteTimeoutInSeconds': '--first-byte-timeout',
  'onPremisesPublishing.idleTimeoutInSeconds': '--idle-timeout',
  'onPremisesPublishing.streamIdleTimeoutInSeconds': '--stream-idle-timeout',
  'onPremisesPublishing.lastLeaseMinutes': '--last-lease',
  'onPremisesPublishing.originCertificateAuthorities': '--origin-ca',
  'onPremisesPublishing.originServerName': '--origin-server-name',
  'onPremisesPublishing.originCertificatePins': '--origin-pin',
  'onPremisesPublishing.corsConfigurations': '--allow-origin',
  'onPremisesPublishing.singleSignOnSettings.singleSignOnMode': '--sign-on',
  'onPremisesPublishing.singleSignOnSettings.headerSignOnSettings.headers': '--sign-on-header',
  'onPremisesPublishing.singleSignOnSettings.kerberosSignOnSettings.kerberosServicePrincipalName':
    '--spn',
  'signInIdentity.userId': '--user',
  'signInConditions.ipAddress': '--ip',
  'signInConditions.country': '--country',
  'signInConditions.clientAppType': '--client',
  'signInConditions.devicePlatform': '--platform',
  'signInConditions.signInRiskLevel': '--sign-in-risk',
  'signInConditions.userRiskLevel': '--user-risk',
  'signInConditions.httpMethod': '--method',
  'signInConditions.dateTime': '--time',
}

/** Runs, and says of what was refused by which option of the command it was given. */
async function inOptions(command: Command, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (!(error instanceof RefusedBySystem) || error.problems.length === 0) throw error
    const names = [...command.options.map(({ long }) => long), ...argumentsOf(command)]
    const lines = error.problems.map(({ property, message }) => {
      // Of a list: 'onPremisesPublishing.originCertificatePins.0'.
      const option = optionOf[property.replace(/\.\d+(\..*)?$/, '')]
      if (option === undefined || !names.includes(option)) return `${property}: ${message}`
      return `${option}: ${inWordsOfOptions(message)}`
    })
    const text = lines.length > 1 ? ['refused:', ...lines].join('\n  ') : lines.join()
    throw new CommandFailure(text)
  }
}

function argumentsOf({ registeredArguments }: Command): string[] {
  return registeredArguments.map(argument => `<${argument.name()}>`)
}

/** What is said of properties, for whoever gave options. */
function inWordsOfOptions(message: string): string {
  return message
    .replace('or null for the default', 'or default')
    .replace('connectorGroupId, or null', '--group')
    .replace('externalAuthenticationType is passthru', 'it is published with --passthrough')
}

/** As of a variable of a script that is not set: an address without the name would be that of something else. */
function refuseEmpty({ args, registeredArguments }: Command): void {
  for (const [index, argument] of registeredArguments.entries()) {
    if (args[index]?.trim() !== '') continue
    throw new UsageError(`<${argument.name()}> must not be empty`)
  }
}

/** A command whose wrong calls end with status 2. */
export function baseCommand(program: Command, usage: string, description: string): Command {
  const [name = ''] = usage.split(' ')
  const whole = program.parent ? `${program.name()} ${name}` : name
  const command = program.command(usage).description(description).allowExcessArguments(false)
  return endWrongCalls(command, whole)
}

/** Has wrong calls of a command, and of those that are added to it afterwards, end with status 2. */
export function endWrongCalls(command: Command, name: string): Command {
  const called = ['sallyport', name].filter(Boolean).join(' ')
  return command
    .showHelpAfterError(`(${called} --help says how it is called)`)
    .exitOverride(error => process.exit(error.exitCode === 0 ? 0 : wrongUsage))
}

/** Options that exist to be refused: every user of a machine can read its command lines. */
export function addRefusedSecret(command: Command, flags: string): Command {
  return command.addOption(new Option(flags).hideHelp())
}

export function refuseSecret(value: string | undefined, name: string, instead: string): void {
  if (value === undefined) return
  throw new UsageError(`${name} would show a secret to every user of this machine; use ${instead}`)
}

/** Runs to a reported end. */
export async function ending(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    report(error)
  }
}
