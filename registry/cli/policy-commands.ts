/**
 * Commands for conditional access: list, switch on and off, ask what would be decided (policy-import.ts: import an
 * export; `policy test` is policy's own).
 */

import type { Command } from 'commander'
import { z } from 'zod'
import type { Environment } from '#infra/config.ts'
import { reasonSentence } from '#infra/contracts/reasons.ts'
import { PolicyView as PolicyAnswer, WhatIfAnswer } from '../admin-api/policy-views.ts'
import { type ClientCommand, clientCommands } from './command.ts'
import { UsageError } from './failure.ts'
import { addImport, conditionalAccess as root } from './policy-import.ts'
import { print, printable, printJson, table, tell } from './text.ts'

export function addPolicyCommands(program: Command, environment: Environment): void {
  const add = clientCommands(policyCommand(program), environment)
  addList(add)
  addImport(add)
  addChanges(add)
  addWhatIf(add)
}

/** `sallyport policy` by itself starts the service; below it are the commands for what that service works with. */
function policyCommand(program: Command): Command {
  const service = program.commands.find(command => command.name() === 'policy')
  return service ?? program.command('policy').description('conditional access')
}

function addList(add: ClientCommand): void {
  add('list', 'list the policies', {
    run: async ({ client, options }) => {
      const policies = await client.list(`${root}/policies`, PolicyAnswer)
      if (options.json) return printJson(policies)
      if (policies.length === 0) return print('No policy yet.\n')
      print(
        table(
          ['ID', 'STATE', 'NAME'],
          policies.map(({ id, state, displayName }) => [id, state, displayName]),
        ),
      )
    },
  })
}

const states = new Map([
  ['enabled', 'enabled'],
  ['disabled', 'disabled'],
  ['report-only', 'enabledForReportingButNotEnforced'],
])

/** What an export cannot do, and cannot wait for one. */
function addChanges(add: ClientCommand): void {
  const at = (id: string) => `${root}/policies/${encodeURIComponent(id)}`
  add<[string, string]>(
    'set-state <id> <state>',
    'switch a policy: enabled, disabled, report-only',
    {
      run: async ({ client, args: [id, name], options }) => {
        const state = states.get(name)
        if (!state) throw new UsageError(`<state> is one of ${[...states.keys()].join(', ')}`)
        await client.call({ method: 'PATCH', path: at(id), body: { state }, answer: z.unknown() })
        tell(options, { id, state }, `policy ${printable(id)} is ${name}`)
      },
    },
  )
  add<[string]>('delete <id>', 'delete a policy', {
    run: async ({ client, args: [id], options }) => {
      await client.call({ method: 'DELETE', path: at(id), answer: z.unknown() })
      tell(options, { id }, `policy ${printable(id)} is deleted`)
    },
  })
}

interface WhatIfOptions {
  user?: string
  app?: string
  group: string[]
  role: string[]
  ip?: string
  country?: string
  client?: string
  platform?: string
  signInRisk?: string
  userRisk?: string
  amr: string[]
  acr?: string
  fact: string[]
  method?: string
  time?: string
  all?: true
}

const collect = (value: string, before: string[]) => [...before, value]

/** Graph calls it evaluate. */
function addWhatIf(add: ClientCommand): void {
  add<[], WhatIfOptions>(
    'what-if',
    'what would be decided for a sign-in, and what each policy says',
    {
      setUp: command =>
        command
          .alias('evaluate')
          .requiredOption('--user <upn>', 'who signs in')
          .requiredOption('--app <id>', 'at which application')
          .option('--group <name>', 'a group of the user (repeatable)', collect, [])
          .option('--role <id>', 'a role of the user (repeatable)', collect, [])
          .option('--ip <address>', 'where from')
          .option('--country <code>', 'the country, as in FR')
          .option('--client <type>', 'browser, mobileAppsAndDesktopClients or other')
          .option('--platform <name>', 'windows, macOS, linux, iOS or android')
          .option('--sign-in-risk <level>', 'none, low, medium or high')
          .option('--user-risk <level>', 'none, low, medium or high')
          .option(
            '--amr <word>',
            'how the user authenticated, as in pwd or mfa (repeatable)',
            collect,
            [],
          )
          .option('--acr <value>', 'the context of the authentication')
          .option('--fact <name=value>', 'a fact that holds (repeatable)', collect, [])
          .option('--method <method>', 'of the request, as in PUT')
          .option('--time <time>', 'when, as in 2026-01-31T08:00:00Z')
          .option('--all', 'policies that do not apply too, and why'),
      run: async ({ client, options }) => {
        const body = whatIfBody(options)
        const path = `${root}/evaluate`
        const answer = await client.call({ method: 'POST', path, body, answer: WhatIfAnswer })
        if (options.json) return printJson(answer)
        print(verdictText(answer))
      },
    },
  )
}

function whatIfBody(options: WhatIfOptions) {
  const { user, app, group, role, amr, fact, all } = options
  return {
    signInIdentity: {
      userId: user,
      ...(group.length > 0 && { groups: group }),
      ...(role.length > 0 && { roles: role }),
    },
    signInContext: { includeApplications: [app] },
    signInConditions: {
      ipAddress: options.ip,
      country: options.country,
      clientAppType: options.client,
      devicePlatform: options.platform,
      signInRiskLevel: options.signInRisk,
      userRiskLevel: options.userRisk,
      acr: options.acr,
      dateTime: options.time,
      httpMethod: options.method,
      ...(amr.length > 0 && { amr }),
      ...(fact.length > 0 && { facts: Object.fromEntries(fact.map(factOf)) }),
    },
    appliedPoliciesOnly: !all,
  }
}

function factOf(text: string): [string, string | number | boolean] {
  const [, name = '', value = ''] = /^([^=]+)=(.*)$/.exec(text) ?? []
  if (name === '') throw new UsageError('a fact is written as name=value')
  if (value === 'true' || value === 'false') return [name, value === 'true']
  return [name, /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value]
}

function verdictText({ value, decision, remarks = [] }: z.output<typeof WhatIfAnswer>): string {
  const rows = value.map(
    ({ displayName, state, policyApplies, outcome, analysisReasons, reasons }) => [
      policyApplies ? (outcome ?? '') : 'does not apply',
      state,
      displayName,
      policyApplies ? reasons.join(', ') : analysisReasons,
    ],
  )
  const said = [...decision.reasons.map(reasonSentence), ...remarks]
  const lines = said.map(sentence => `  ${printable(sentence)}\n`)
  const policies = rows.length > 0 ? `\n${table(['VERDICT', 'STATE', 'POLICY', 'WHY'], rows)}` : ''
  return `${decision.outcome}\n${lines.join('')}${policies}`
}
