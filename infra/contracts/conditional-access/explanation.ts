/**
 * What a policy event keeps so that a decision can be explained later: what was looked at, what each policy said, and
 * the smallest change that would have let the user in. Nothing secret: names, places, kinds of things.
 */

import { z } from 'zod'
import { methodClasses } from '../http-methods.ts'
import { FactValue } from './signals.ts'
import { PolicyOpinion } from './what-if.ts'

/** What the decision was made on. */
export const DecisionInputs = z.object({
  userGroups: z.array(z.string()),
  clientAppType: z.string(),
  devicePlatform: z.string(),
  /** What is known of the device, by its properties. */
  device: z.record(z.string(), z.unknown()),
  authenticationMethods: z.array(z.string()),
  isMultifactor: z.boolean(),
  authenticationDateTime: z.string().nullable(),
  signInRisk: z.string(),
  userRisk: z.string(),
  isTrustedLocation: z.boolean().nullable(),
  /** Those that policies asked about. */
  facts: z.record(z.string(), FactValue.nullable()),
  /** The class of the request's method. */
  httpMethods: z.enum(methodClasses).optional(),
})
export type DecisionInputs = z.output<typeof DecisionInputs>

export const Explanation = z.object({
  /** Left out when no policy was asked: what was not passed before is in the decision's reasons. */
  inputs: DecisionInputs.optional(),
  /** Policies that apply first; the number of those that are left out for their number is beside them. */
  opinions: z.array(PolicyOpinion).optional(),
  opinionsLeftOut: z.int().nonnegative().optional(),
  /** In plain words; null when no one or two changes would have done. */
  smallestChange: z.array(z.string()).nullable().optional(),
})
export type Explanation = z.output<typeof Explanation>
