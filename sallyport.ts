#!/usr/bin/env node
/**
 * The `sallyport` command: a whole system at once, one service, or an administrator's request to a running system.
 * Services are loaded only when they are started, so that none brings along another's code.
 */

import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { Command } from 'commander'
import { variablesHelp } from './infra/embedded/service-help.ts'
import type { ServiceRole } from './infra/embedded/service-process.ts'
import { logLevels } from './infra/log.ts'
import { nearest } from './infra/nearest.ts'
import { version } from './infra/version.ts'
import { addRefusedSecret, baseCommand, endWrongCalls } from './registry/cli/command.ts'
import { addClientCommands } from './registry/cli/commands.ts'

const program = endWrongCalls(new Command('sallyport'), '')
  .description(
    'Publishes web applications of a private network at external URLs, through a gateway, NATS and connectors that only dial out.',
  )
  .version(version)
  .addHelpText(
    'after',
    `
Examples:
  sallyport up                                        everything, with samples and an identity provider
  sallyport up --publish wiki=http://127.0.0.1:3000   and an application of yours
  sallyport tail                                      what happens, as it happens
  sallyport gateway --help                            one service: the variables it reads

Exit status: 0 all went well, 1 refused or failed, 2 called wrongly; of services and of "up" also 78 for a configuration
that cannot be used, and 77 for a connector that was removed.

In a checkout the command is: npm run -s sallyport --`,
  )

const collect = (value: string, before: string[] = []) => [...before, value]

endWrongCalls(program.command('up'), 'up')
  .description('start a whole system here, to try it or to develop')
  .option('--port <number>', 'port of the portal and of all applications', '8080')
  .option('--data <folder>', 'where data is kept between runs', '.sallyport')
  .option(
    '--publish <name=url[,passthrough]>',
    'publish an application to everybody signed in, or with ",passthrough" to everybody; who may use one that is published already stays as it is; repeatable',
    collect,
  )
  .option('--json', 'print one line of JSON when ready, for programs')
  .option(
    '--identity-provider <url>',
    'issuer of a real OpenID provider, in place of the embedded one',
  )
  .option('--client-id <id>', 'client id at that provider')
  .option('--client-secret-file <file>', 'file with the client secret; none for a public client')
  .option('--connectors <number>', 'connectors to start', '1')
  .option('--gateways <number>', 'gateways to start; all but the first at free ports', '1')
  .option(
    '--workers <number>',
    'processes of each gateway and connector, or auto for one per core (default: 1)',
  )
  .option(
    '--plain-bus',
    'a bus without TLS and connectors without certificates, to measure or to look at messages',
  )
  .option('--log-level <level>', `of all services: ${logLevels.join(', ')}`, 'warn')
  .addHelpText(
    'after',
    `
Examples:
  sallyport up --publish wiki=http://127.0.0.1:3000 --publish status=http://127.0.0.1:9000,passthrough
  sallyport up --port 9090 --data /tmp/second --gateways 2 --connectors 3
  sallyport up --identity-provider https://login.example.com/ --client-id sallyport --client-secret-file secret.txt

Register at that provider, with your own port:
  redirect URI              http://portal.sallyport.localhost:8080/.sallyport/callback
  post-logout redirect URI  http://portal.sallyport.localhost:8080/.sallyport/signed-out`,
  )
  .action(async options => {
    const { up } = await import('./infra/embedded/up.ts')
    await up({ publish: [], ...options }, process.env)
  })

const services = {
  gateway: {
    description: 'start one gateway: the front that users reach',
    load: () => import('./gateway/main.ts'),
  },
  connector: {
    description: 'start one connector: stands beside the applications',
    load: () => import('./connector/main.ts'),
  },
  policy: {
    description:
      'start one policy service: who may use what; or, with a command, look at policies and import them',
    load: () => import('./policy/main.ts'),
  },
  registry: {
    description: 'start one registry: what exists, the admin API',
    load: () => import('./registry/main.ts'),
  },
} as const satisfies Record<ServiceRole, object>

interface ServiceOptions {
  environment?: string
  enrollWithTokenFrom?: string
  token?: string
}

for (const [name, { description, load }] of Object.entries(services)) {
  const service = endWrongCalls(program.command(name), name)
    .description(description)
    // What is no command below it is told apart from an argument.
    .allowExcessArguments()
    .option('--environment <file>', 'read variables that are not set from lines NAME=value')
  if (name === 'connector') addEnrolment(service)
  service
    .addHelpText('after', variablesHelp(name as ServiceRole))
    .action(async (options: ServiceOptions, command: Command) => {
      refuseArguments(command)
      if (options.environment !== undefined) readEnvironment(options.environment, command)
      if (name === 'connector') await enrolBefore(options)
      await load()
    })
}

function refuseArguments(command: Command): void {
  const [word] = command.args
  if (word === undefined) return
  const known = command.commands.map(below => below.name())
  if (known.length === 0) command.error(`error: ${command.name()} takes no argument "${word}"`)
  const meant = nearest(word, known)
  const hint = meant === undefined ? '' : `\n(Did you mean ${meant}?)`
  command.error(`error: unknown command '${command.name()} ${word}'${hint}`)
}

function addEnrolment(connector: Command): void {
  connector.option(
    '--enroll-with-token-from <source>',
    'enrol this host first, unless it is: a file with a one-time token, - for standard input, or env (SALLYPORT_CONNECTOR_TOKEN)',
  )
  addRefusedSecret(connector, '--token <token>')
}

async function enrolBefore({ enrollWithTokenFrom, token }: ServiceOptions): Promise<void> {
  // Whoever sets the variable means it.
  const isInEnvironment = Boolean(process.env.SALLYPORT_CONNECTOR_TOKEN)
  const source = enrollWithTokenFrom ?? (isInEnvironment ? 'env' : undefined)
  if (source === undefined && token === undefined) return
  const { enrolBeforeStart } = await import('./connector/identity/command.ts')
  await enrolBeforeStart({ source, token }, process.env)
}

function readEnvironment(file: string, command: Command): void {
  try {
    // Not `loadEnvFile`: it calls every file that it cannot open one that is not there.
    const variables = parseEnv(readFileSync(file, 'utf8'))
    for (const [name, value] of Object.entries(variables)) process.env[name] ??= value
  } catch (error) {
    command.error(`error: --environment: ${file} cannot be read (${(error as Error).message})`)
  }
}

const veto = endWrongCalls(program.command('veto'), 'veto').description(
  "the site owner's veto file of a connector (SALLYPORT_CONNECTOR_VETO_PATH)",
)
baseCommand(veto, 'check <file>', 'say whether a connector could use it').action(
  async (file: string) => {
    const { checkVetoFile } = await import('./connector/veto/check.ts')
    process.exitCode = await checkVetoFile(file)
  },
)

addClientCommands(program, process.env)

const policy = program.commands.find(command => command.name() === 'policy') ?? program
baseCommand(
  policy,
  'test <file...>',
  'decide the sign-ins of fixtures, without a running system, and compare',
).action(async (files: string[]) => {
  const { testCommand } = await import('./policy/cli/test-command.ts')
  testCommand(files)
})

await program.parseAsync()
