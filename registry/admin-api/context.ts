/** What the routes of the admin API work on. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Audit } from '#infra/audit.ts'
import type { Logger } from '#infra/log.ts'
import type { Applications } from '../applications.ts'
import type { ConnectorGroups } from '../connector-groups.ts'
import type { Connectors } from '../connectors.ts'

export interface AdminContext {
  readonly applications: Applications
  readonly groups: ConnectorGroups
  readonly connectors: Connectors
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
