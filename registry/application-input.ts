/**
 * What an administrator may say of an application, as a body of the admin API. Three kinds of property: those that we
 * enforce (the contract), those that Graph knows and we do not enforce yet (they load as long as they ask for
 * nothing, and are refused by name as soon as they do: settings that are silently ignored are worse than none), and
 * unknown ones, which are refused by name.
 */

import { z } from 'zod'
import { Application, OnPremisesPublishing, Slug } from '#infra/contracts/application.ts'
import { CorsConfigurationInput, corsConfigurationsOf } from '#infra/contracts/cors.ts'
import {
  annotated,
  notEnforced,
  onlyEmpty,
  onlyFalse,
  saysNothing,
  withoutAnnotations,
} from '#infra/contracts/graph.ts'
import { SingleSignOnInput } from '#infra/contracts/sign-on.ts'

/** Properties of Graph's onPremisesPublishing that would change what we do, if we did it. */
const notEnforcedPublishing = {
  alternateUrl: notEnforced(onlyEmpty),
  applicationType: notEnforced(
    'leave it out or enterpriseapp',
    value => saysNothing(value) || value === 'enterpriseapp',
  ),
  isAccessibleViaZTNAClient: notEnforced(onlyFalse),
  isContinuousAccessEvaluationEnabled: notEnforced(onlyFalse),
  isDnsResolutionEnabled: notEnforced(onlyFalse),
  isOnPremPublishingEnabled: notEnforced(
    'leave it out or true, and set onPremisesPublishing of the application to null to end its publishing',
    value => value === undefined || value === null || value === true,
  ),
  isStateSessionEnabled: notEnforced(onlyFalse),
  isTranslateLinksInBodyEnabled: notEnforced(onlyFalse),
  onPremisesApplicationSegments: notEnforced(onlyEmpty),
  segmentsConfiguration: notEnforced(onlyEmpty),
  trafficRoutingMethod: notEnforced('leave it out or none'),
  useAlternateUrlForTranslationAndRedirect: notEnforced(onlyFalse),
  verifiedCustomDomainCertificatesMetadata: notEnforced(onlyEmpty),
  verifiedCustomDomainKeyCredential: notEnforced(onlyEmpty),
  verifiedCustomDomainPasswordCredential: notEnforced(onlyEmpty),
  wafAllowedHeaders: notEnforced(onlyEmpty),
  wafIpRanges: notEnforced(onlyEmpty),
  wafProvider: notEnforced('leave it out or none'),
}

type Publishing = OnPremisesPublishing

/** The contract's properties without their defaults: what a body leaves out stays as it is, null means the default. */
const enforcedPublishing = Object.fromEntries(
  Object.entries(OnPremisesPublishing.shape).map(([name, schema]) => [
    name,
    schema instanceof z.ZodDefault ? orNull(schema.unwrap()).optional() : schema.optional(),
  ]),
) as { [Name in keyof Publishing]: z.ZodOptional<z.ZodNullable<z.ZodType<Publishing[Name]>>> }

function orNull(schema: unknown) {
  return schema instanceof z.ZodNullable ? schema : (schema as z.ZodType).nullable()
}

const PublishingPatch = z.strictObject({
  ...enforcedPublishing,
  ...notEnforcedPublishing,
  corsConfigurations: z
    .preprocess(deeplyWithoutAnnotations, corsConfigurationsOf(CorsConfigurationInput).nullable())
    .optional()
    .describe(OnPremisesPublishing.shape.corsConfigurations.unwrap().description ?? ''),
  singleSignOnSettings: z
    .preprocess(deeplyWithoutAnnotations, SingleSignOnInput.nullable())
    .optional()
    .describe(OnPremisesPublishing.shape.singleSignOnSettings.unwrap().description ?? ''),
})
export type PublishingPatch = z.output<typeof PublishingPatch>

export const enforcedNames = Object.keys(enforcedPublishing) as (keyof Publishing)[]

/** Properties that an answer has and that a body may repeat, but not change. */
const repeated = {
  uniqueName: z.string().optional(),
  appId: Application.shape.appId.optional(),
  createdDateTime: Application.shape.createdDateTime.optional(),
}

const settable = {
  displayName: Application.shape.displayName.optional(),
  appRoleAssignmentRequired: z.boolean().optional(),
  connectorGroupId: Slug.optional(),
  standbyConnectorGroupId: Slug.nullable()
    .optional()
    .describe(
      'Serves the application while its connector group has nobody, or nobody who reaches it. Null: none.',
    ),
}

/** Body of POST /applications. */
export const NewApplication = annotated(
  z.strictObject({
    id: Slug.optional().describe('Made from uniqueName or displayName when it is left out.'),
    uniqueName: z.string().min(1).max(256).optional(),
    appId: Application.shape.appId.optional(),
    ...settable,
    onPremisesPublishing: annotated(
      PublishingPatch.extend({ internalUrl: OnPremisesPublishing.shape.internalUrl }).nullable(),
    )
      .optional()
      .describe('Left out or null: the application is published nowhere until it is patched in.'),
  }),
)
export type NewApplication = z.output<typeof NewApplication>

/** Body of PATCH /applications/{id}. */
export const ApplicationPatch = annotated(
  z.strictObject({
    id: Slug.optional(),
    ...repeated,
    ...settable,
    onPremisesPublishing: annotated(PublishingPatch.nullable())
      .optional()
      .describe('Publishes the application when it is not; null ends its publishing.'),
  }),
)
export type ApplicationPatch = z.output<typeof ApplicationPatch>

/** Body of PATCH /applications/{id}/onPremisesPublishing. */
export const OnPremisesPublishingPatch = annotated(PublishingPatch)

function deeplyWithoutAnnotations(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(deeplyWithoutAnnotations)
  const plain = withoutAnnotations(value)
  if (typeof plain !== 'object' || plain === null) return plain
  const entries = Object.entries(plain)
  return Object.fromEntries(entries.map(([name, part]) => [name, deeplyWithoutAnnotations(part)]))
}
