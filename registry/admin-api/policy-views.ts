/** What the admin API answers of conditional access: Graph's resources, as they were parsed when they were stored. */

import { z } from 'zod'
import { policyStates } from '#infra/contracts/conditional-access/policy.ts'
import { Decision } from '#infra/contracts/policy.ts'

const common = {
  '@odata.etag': z.string(),
  id: z.string(),
  displayName: z.string(),
  createdDateTime: z.string(),
  modifiedDateTime: z.string().nullable(),
}

/** Complex properties are described by Graph's documentation; the body of a POST has them in detail. */
const complex = z.record(z.string(), z.unknown())

const policy = {
  description: z.string().nullable(),
  templateId: z.string().nullable(),
  state: z.enum(policyStates),
  conditions: complex,
  grantControls: complex.nullable(),
  sessionControls: complex.nullable(),
}

export const PolicyView = z.object({ ...common, ...policy })

export const NamedLocationView = z.object({ ...common, '@odata.type': z.string() }).loose()

/** Graph's whatIfAnalysisResult, with our own words beside its reason, and the decision that comes of it all. */
export const WhatIfAnswer = z
  .object({
    value: z.array(
      z
        .object({ ...common, ...policy })
        .omit({ '@odata.etag': true })
        .extend({
          policyApplies: z.boolean(),
          analysisReasons: z.string(),
          outcome: z.string().nullable().optional(),
          reasons: z.array(z.string()),
        }),
    ),
    decision: Decision,
    remarks: z
      .array(z.string())
      .optional()
      .describe('What comes of a request whatever policies say: no assignment, no sign-in.'),
  })
  .describe('Whether each policy applies, and the decision of all together.')
