/** Origins to which users are signed on: the outermost of the ways to an origin, and nothing for all others. */

import type { Origins } from '../origin.ts'
import { Sending } from './sending.ts'
import type { SignOn } from './sign-on.ts'
import { SignedRequest } from './signed-request.ts'
import { SignedUpgrade } from './signed-upgrade.ts'

export function withSignOn(origins: Origins, { methodsOf, problems }: SignOn): Origins {
  return {
    send(application, request, sink) {
      const methods = methodsOf(application)
      if (!methods) return origins.send(application, request, sink)
      const { claims } = request
      const sending = new Sending({ origins, application, claims, methods, problems, sink })
      return sending.start(new SignedRequest(sending, request, sink))
    },
    upgrade(application, request, sink) {
      const methods = methodsOf(application)
      if (!methods) return origins.upgrade(application, request, sink)
      const { claims } = request
      const sending = new Sending({ origins, application, claims, methods, problems, sink })
      return sending.start(new SignedUpgrade(sending, request, sink))
    },
    [Symbol.asyncDispose]: () => origins[Symbol.asyncDispose](),
  }
}
