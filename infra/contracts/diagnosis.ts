/**
 * A diagnosis of one application: what every connector of its group finds on its way to the origin, hop by hop, and what
 * the administrator has to do where it ends. A connector looks only at applications of its own list.
 */

import { z } from 'zod'
import { Slug } from './application.ts'
import { connectorIdPattern } from './connector.ts'

/** In the order in which a request passes them. */
const hopNames = [
  ...(['published', 'name', 'tls', 'gateway', 'sign-in', 'policy', 'bus'] as const),
  ...(['connector', 'origin name', 'origin connection', 'origin', 'sign-on'] as const),
] as const
export type HopName = (typeof hopNames)[number]

export const Hop = z.object({
  hop: z.enum(hopNames),
  outcome: z.enum(['ok', 'failed', 'skipped']),
  /** What was found. */
  detail: z.string().max(1_000),
  /** What to do about it. */
  fix: z.string().max(1_000).optional(),
})
export type Hop = z.output<typeof Hop>

/** Told to all connectors of a group. */
export const DiagnosisRequest = z.object({
  diagnosisId: z.string().min(1).max(64),
  applicationId: Slug,
  /** In whose name sign-on is tried; without one only what is the same for all users is. */
  user: z.string().min(1).max(512).nullable(),
})
export type DiagnosisRequest = z.output<typeof DiagnosisRequest>

export const DiagnosisReport = z.object({
  diagnosisId: z.string(),
  connectorId: z.string().regex(connectorIdPattern),
  hops: z.array(Hop).max(20),
})
export type DiagnosisReport = z.output<typeof DiagnosisReport>

/** How long connectors may take. */
export const diagnosisMs = 12_000
