/** What the routes of the admin API work on. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Audit } from '#infra/audit.ts'
import type { NamedLocation } from '#infra/contracts/conditional-access/named-location.ts'
import type { ConditionalAccessPolicy } from '#infra/contracts/conditional-access/policy.ts'
import type { Revocation } from '#infra/contracts/policy.ts'
import type { Logger } from '#infra/log.ts'
import type { Applications } from '../applications.ts'
import type { EvaluateWhatIf } from '../conditional-access/evaluation.ts'
import type { Resources } from '../conditional-access/policies.ts'
import type { SignalBook } from '../conditional-access/signals.ts'
import type { ConnectorGroups } from '../connector-groups.ts'
import type { ConnectorPlacement } from '../connector-placement.ts'
import type { Connectors } from '../connectors.ts'
import type { Diagnose } from '../diagnosis.ts'
import type { Enrolment } from '../enrolment/enrolment.ts'
import type { Explain } from '../explain.ts'

export interface AdminContext {
  readonly applications: Applications
  readonly groups: ConnectorGroups
  readonly connectors: Connectors
  readonly placement: ConnectorPlacement
  /** Undefined without a certificate authority. */
  readonly enrolment: Enrolment | undefined
  readonly policies: Resources<ConditionalAccessPolicy>
  readonly namedLocations: Resources<NamedLocation>
  readonly whatIf: EvaluateWhatIf
  readonly signals: SignalBook
  readonly explain: Explain
  readonly diagnose: Diagnose
  /** Ends what it names, everywhere. */
  readonly revoke: (revocation: Revocation) => void
  readonly audit: Audit
  readonly log: Logger
}

/** A server whose routes take zod schemas. */
export type AdminServer = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

declare module 'fastify' {
  interface FastifyRequest {
    /** Name of the administrator's token; empty before it was checked. */
    actor: string
  }
}
