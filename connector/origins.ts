/** All ways to an origin, put together: each takes the requests that are its own and passes the others on. */

import type { Dialer } from './dial.ts'
import { createOrigins, type Origins } from './origin.ts'
import { withTrailers } from './origin-alone.ts'
import { withHttp2 } from './origin-http2.ts'
import { withRaw } from './origin-raw.ts'
import { withSignedInConnections } from './signed-in-connections.ts'

export function openOrigins(maxConnections: number, dialer: Dialer): Origins {
  const shared = withSignedInConnections(createOrigins(maxConnections, dialer), dialer)
  const plain = withTrailers(shared, dialer)
  return withRaw(withHttp2(plain, dialer), dialer)
}
