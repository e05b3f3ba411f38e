/** One request with everything that may have to be done with it, and what the steps of its path work with. */

import type { Audit } from '#infra/audit.ts'
import type { Logger } from '#infra/log.ts'
import type { ApplicationSignIn } from './application-sign-in.ts'
import type { Authorizer } from './authorize.ts'
import type { CrossOrigin } from './cross-origin.ts'
import type { Arrival, ClientRequest, ClientResponse } from './front/client.ts'
import type { Patience } from './front/patience.ts'
import type { Incoming, IncomingReader } from './incoming.ts'
import type { Limits } from './limits.ts'
import type { PortalContext } from './portal.ts'
import type { Publication } from './publish.ts'
import type { Access } from './record.ts'
import type { Relay } from './relay.ts'
import type { SessionStore } from './session.ts'

export interface ServerContext {
  applicationSignIn: ApplicationSignIn
  audit: Audit
  authorizer: Authorizer
  limits: Limits
  log: Logger
  portal: PortalContext
  /** Clients speak TLS with the gateway itself. */
  isSecure: boolean
  publication: () => Publication
  reader: IncomingReader
  relay: Relay
  sessions: SessionStore
  /** Looks for clients that send nothing of a body. */
  uploads: Patience
}

export interface Visit {
  readonly req: ClientRequest
  readonly res: ClientResponse
  readonly incoming: Incoming
  readonly access: Access
  readonly upgrade: Arrival['upgrade']
  readonly expectsContinue: boolean
  /** Where the application lets other origins in. */
  crossOrigin?: CrossOrigin | undefined
  /** When the client may ask again. */
  retryAfterSeconds?: number
  /** The methods that may be used. */
  allow?: string
}

/** What endpoints of our own need of it. */
export type EndpointVisit = Pick<Visit, 'req' | 'res' | 'incoming' | 'upgrade'>
