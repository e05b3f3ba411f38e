/** `sallyport explain`: why a request was refused, by the support id on its page; and `sallyport revoke`. */

import { z } from 'zod'
import { reasonSentence } from '#infra/contracts/reasons.ts'
import { ExplanationView } from '../admin-api/explain-routes.ts'
import type { ClientCommand } from './command.ts'
import { print, printable, printJson, table, tell } from './text.ts'

export function addExplainCommands(add: ClientCommand): void {
  add<[string]>(
    'explain <support-id>',
    'why a request was refused, and what would have let it through',
    {
      run: async ({ client, args: [id], options }) => {
        const path = `/auditLogs/explanations/${encodeURIComponent(id)}`
        const answer = await client.call({ path, answer: ExplanationView })
        if (options.json) return printJson(answer)
        print(explanationText(answer))
      },
    },
  )
  add<[string]>('revoke <user>', 'end every session of a user, open connections included', {
    run: async ({ client, args: [user], options }) => {
      const path = `/users/${encodeURIComponent(user)}/revokeSignInSessions`
      await client.call({ method: 'POST', path, answer: z.unknown() })
      const sentence = `every session of ${printable(user)} has ended, if there was one`
      tell(options, { userPrincipalName: user }, sentence)
    },
  })
}

function explanationText(view: ExplanationView): string {
  const { request, inputs, policies, timings } = view
  const facts: [string, unknown][] = [
    ['when', view.time],
    ['who', view.user ?? 'nobody signed in'],
    ['what', view.application ?? '-'],
    ['from', view.clientAddress ?? '-'],
    ...(request
      ? ([
          ['request', `${request.method} ${request.host}${request.path}`],
          [
            'answer',
            `${request.status ?? '-'} ${request.fault ?? ''} ${request.detail ?? ''}`.trim(),
          ],
        ] as [string, unknown][])
      : []),
    ...Object.entries(inputs ?? {}).map(([name, value]): [string, unknown] => [name, value]),
    ...Object.entries(timings).map(([name, ms]): [string, unknown] => [name, `${ms} ms`]),
  ]
  const reasons = view.reasons.map(({ reason, says }) => `  ${reason}: ${says}`)
  return [
    `${view.outcome}\n`,
    ...reasons.map(line => `${printable(line)}\n`),
    `\nwould have let it through: ${wayOut(view)}\n\n`,
    ...facts.map(([name, value]) => `  ${name.padEnd(24)}${printable(textOf(value))}\n`),
    policies.length > 0 ? `\n${policyTable(policies)}` : '',
    view.policiesLeftOut > 0 ? `${view.policiesLeftOut} more do not apply\n` : '',
  ].join('')
}

function wayOut({ smallestChange, outcome, timings }: ExplanationView): string {
  if (smallestChange) return printable(smallestChange.join(', and '))
  if (outcome === 'block' || outcome === 'challenge') return 'no one or two changes of this sign-in'
  const wasGranted = outcome === 'grant' || timings.decidedMs !== undefined
  return wasGranted ? 'policy had granted it' : 'nothing of policy, which was not asked'
}

function policyTable(policies: ExplanationView['policies']): string {
  const rows = policies.map(({ displayName, state, outcome, reasons }) => [
    outcome ?? 'does not apply',
    state,
    displayName,
    reasons.map(reasonSentence).join(' '),
  ])
  return table(['VERDICT', 'STATE', 'POLICY', 'WHY'], rows)
}

function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(', ') || '-'
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, part]) => `${name}=${String(part)}`)
    return entries.join(', ') || '-'
  }
  return String(value ?? 'not known')
}
