/**
 * Sign-on by a signed assertion: a JWT that policy has signed for this user and application and put into the lease. The
 * connector has no key for it: one that is taken over can invent nobody.
 */

import type { AssertionSettings } from '#infra/contracts/sign-on.ts'
import { canonicalFieldName } from '#infra/reserved-fields.ts'
import type { Method } from './method.ts'
import { SignOnFailure } from './reasons.ts'

export function assertionMethod({ headerName }: AssertionSettings): Method {
  return {
    owns: new Set([canonicalFieldName(headerName)]),
    prepare({ claims }) {
      if (claims.assertion !== undefined) return { headers: [headerName, claims.assertion] }
      throw new SignOnFailure('assertion_missing', `a lease without an assertion for ${claims.app}`)
    },
  }
}
