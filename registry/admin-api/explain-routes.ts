/** `GET /auditLogs/explanations/{supportId}`: why somebody was refused, and the least that would have let them in. */

import { z } from 'zod'
import { DecisionInputs } from '#infra/contracts/conditional-access/explanation.ts'
import { PolicyOpinion } from '#infra/contracts/conditional-access/what-if.ts'
import { reasonSentence } from '#infra/contracts/reasons.ts'
import { FAULTS, isFaultCode } from '#infra/errors.ts'
import type { Explained } from '../explain.ts'
import type { AdminContext, AdminServer } from './context.ts'

const BySupportId = z.object({
  supportId: z.string().min(1).max(128).describe('As on the page, or in Sallyport-Request-Id.'),
})

const Said = z.object({ reason: z.string(), says: z.string() })

export const ExplanationView = z
  .object({
    id: z.string(),
    time: z.string(),
    user: z.string().nullable(),
    application: z.string().nullable(),
    clientAddress: z.string().nullable(),
    request: z
      .object({
        method: z.string(),
        host: z.string(),
        path: z.string(),
        status: z.number().nullable(),
        fault: z.string().nullable(),
        detail: z.string().nullable(),
        durationMs: z.number(),
      })
      .nullable(),
    outcome: z.string(),
    reasons: z.array(Said),
    policies: z.array(PolicyOpinion),
    policiesLeftOut: z.number(),
    inputs: DecisionInputs.nullable(),
    timings: z.record(z.string(), z.number()),
    smallestChange: z.array(z.string()).nullable(),
  })
  .describe('The decision with everything that it was made on.')
export type ExplanationView = z.output<typeof ExplanationView>

export function explainRoutes(app: AdminServer, { explain }: AdminContext): void {
  app.route({
    method: 'GET',
    url: '/auditLogs/explanations/:supportId',
    schema: {
      tags: ['sessions'],
      summary: 'Explain a refusal by its support id',
      params: BySupportId,
      response: { 200: ExplanationView },
    },
    handler: async req => {
      const { supportId } = req.params
      return explanationView(supportId, await explain(supportId))
    },
  })
}

function explanationView(id: string, { access, policy, signIn }: Explained): ExplanationView {
  const event = policy ?? access ?? signIn
  if (!event) throw new TypeError('nothing was found and nothing was said')
  const decision = policy?.decision ?? access?.decision ?? undefined
  const reasons = decision?.reasons ?? signIn?.reasons ?? []
  const isRefusedByPolicy = decision !== undefined && decision.outcome !== 'grant'
  const broken = isRefusedByPolicy ? undefined : brokenOff(access)
  return {
    id,
    time: event.time,
    user: event.user ?? access?.user ?? null,
    application: event.application ?? access?.application ?? null,
    clientAddress: event.clientAddress,
    request: access ? requestOf(access) : null,
    outcome: broken?.outcome ?? decision?.outcome ?? event.outcome,
    reasons: broken?.reasons ?? reasons.map(reason => ({ reason, says: reasonSentence(reason) })),
    policies: policy?.opinions ?? [],
    policiesLeftOut: policy?.opinionsLeftOut ?? 0,
    inputs: policy?.inputs ?? null,
    timings: timingsOf({ access, policy, signIn }),
    smallestChange: policy?.smallestChange ?? wayIn(access, decision),
  }
}

/** Who comes without a session is sent to sign in before policy is asked. */
function wayIn(access: Explained['access'], decision: object | undefined): string[] | null {
  return decision === undefined && access?.fault === 'unauthenticated' ? ['sign in'] : null
}

/** What failed before it was decided, was granted and failed, or was ended while it was under way. */
function brokenOff(access: Explained['access']) {
  const { fault, outcome } = access ?? {}
  if (!outcome || !fault || !isFaultCode(fault)) return undefined
  return { outcome, reasons: [{ reason: fault, says: FAULTS[fault].title }] }
}

function requestOf(access: NonNullable<Explained['access']>) {
  const { method, host, path, status, fault, faultDetail, durationMs } = access
  return { method, host, path, status, fault, detail: faultDetail, durationMs }
}

function timingsOf({ access, policy }: Explained): Record<string, number> {
  const all = {
    decidedMs: access?.decidedMs,
    totalMs: access?.durationMs,
    policyMs: policy?.durationMs,
    ...policy?.timings,
  }
  const known = Object.entries(all).filter(([, value]) => typeof value === 'number')
  return Object.fromEntries(known) as Record<string, number>
}
