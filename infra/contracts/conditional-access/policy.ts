/**
 * Graph's conditionalAccessPolicy, as it enters (admin API, files) and as it rests in the bucket `policies`. What rests
 * has been parsed by the same schema, so that nothing can rest there that would not be enforced.
 */

import { z } from 'zod'
import { annotated, notEnforced, onlyEmpty, orNull, word } from '../graph.ts'
import { ConditionSet, isForUnsafeMethods } from './conditions.ts'
import { GrantControls, SessionControls } from './controls.ts'
import { NamedLocation } from './named-location.ts'
import { problemsOfTimes } from './times.ts'

export const policyStates = ['enabled', 'disabled', 'enabledForReportingButNotEnforced'] as const

/** Ids that are given by others (an export's) stand in subjects of the store and in audit events. */
export const ResourceId = z
  .string()
  .regex(/^[A-Za-z0-9][\w-]{0,127}$/, 'must be 1 to 128 letters, digits, _ or -')

const moment = z.string().nullish()

const enforced = {
  displayName: z.string().trim().min(1).max(256),
  state: word(policyStates),
  conditions: ConditionSet,
  grantControls: orNull(GrantControls),
  sessionControls: orNull(SessionControls),
  /** Says nothing to the evaluator; kept so that an export comes back as it was. */
  description: z
    .string()
    .max(4_096)
    .nullish()
    .transform(text => text ?? null),
  templateId: z
    .string()
    .max(256)
    .nullish()
    .transform(id => id ?? null),
}

/** Read-only properties of an answer that a body may repeat. */
const repeated = { createdDateTime: moment, modifiedDateTime: moment }

const known = {
  deletedDateTime: notEnforced(onlyEmpty),
  partialEnablementStrategy: notEnforced(onlyEmpty),
}

/** A body of the admin API, an item of a file: all of Graph's properties. */
export const PolicyInput = annotated(
  z
    .strictObject({ id: ResourceId.optional(), ...enforced, ...repeated, ...known })
    .refine(
      ({ grantControls, sessionControls }) =>
        hasControl(grantControls) || hasControl(sessionControls),
      { path: ['grantControls'], error: 'needs a grant control, or a session control beside it' },
    )
    .refine(
      ({ conditions, sessionControls }) =>
        !isForUnsafeMethods(conditions) || !sessionControls?.persistentBrowser?.isEnabled,
      {
        path: ['sessionControls', 'persistentBrowser'],
        error: 'cannot be for some methods alone: the cookie is set at sign-in',
      },
    )
    .superRefine(({ conditions }, ctx) => {
      for (const { path, message } of problemsOfTimes(conditions.times))
        ctx.addIssue({ code: 'custom', path: ['conditions', 'times', ...path], message })
    })
    .transform(({ createdDateTime: _, modifiedDateTime: __, deletedDateTime: ___, ...rest }) => {
      const { partialEnablementStrategy: ____, ...policy } = rest
      return policy
    }),
)
export type PolicyInput = z.output<typeof PolicyInput>

function hasControl(controls: object | null): boolean {
  return Object.entries(controls ?? {}).some(([name, value]) =>
    name === 'operator' ? false : Array.isArray(value) ? value.length > 0 : Boolean(value),
  )
}

/** An entry of the bucket. */
export const ConditionalAccessPolicy = z.strictObject({
  id: ResourceId,
  ...enforced,
  createdDateTime: z.iso.datetime(),
  modifiedDateTime: z.iso.datetime().nullable(),
})
export type ConditionalAccessPolicy = z.output<typeof ConditionalAccessPolicy>

/** What rests in the bucket `policies`: policies and the locations that they name, so that both have one revision. */
export const PolicyEntry = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('policy'), policy: ConditionalAccessPolicy }),
  z.object({ kind: z.literal('location'), location: NamedLocation }),
])
export type PolicyEntry = z.output<typeof PolicyEntry>

export const policyKey = (id: string) => `policy.${id}`
export const locationKey = (id: string) => `location.${id}`
