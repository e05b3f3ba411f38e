/** Sign-on by headers: claims of the lease, transformed, under the names that the application expects. */

import type { Principal } from '#infra/contracts/principal.ts'
import type { HeaderSettings, SignOnHeader } from '#infra/contracts/sign-on.ts'
import { canonicalFieldName } from '#infra/reserved-fields.ts'
import type { Method, Prepared, SignOnUser } from './method.ts'
import { SignOnFailure } from './reasons.ts'
import { transformed } from './transforms.ts'

/** Of all values together: more than any application takes. */
const maxBytes = 16 * 1024

export function headersMethod({ headers }: HeaderSettings): Method {
  /** A lease is the same object as long as it lives. */
  const made = new WeakMap<object, Prepared>()
  return {
    owns: new Set(headers.map(({ name }) => canonicalFieldName(name))),
    prepare({ claims, principal }: SignOnUser) {
      let prepared = made.get(claims)
      if (!prepared) {
        prepared = { headers: fieldsFor(headers, principal) }
        made.set(claims, prepared)
      }
      return prepared
    },
  }
}

/** A claim that the user does not have sends no header. */
function fieldsFor(headers: readonly SignOnHeader[], principal: Principal): string[] {
  const fields = headers.flatMap(({ name, claim, transforms }) => {
    const values = transformed(valuesOf(principal, claim), transforms)
    if (values.length === 0) return []
    return [name, fieldValue(name, values.join(','))]
  })
  const bytes = fields.reduce((sum, part) => sum + part.length, 0)
  if (bytes <= maxBytes) return fields
  throw new SignOnFailure('claim_unusable', `headers of ${bytes} bytes`)
}

/** Octets of UTF-8, as field values are written. */
function fieldValue(name: string, value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  if (/[\x00-\x1f\x7f]/.test(value))
    throw new SignOnFailure('claim_unusable', `a control character in ${name}`)
  return Buffer.from(value.trim()).toString('latin1')
}

function valuesOf({ claims, ...principal }: Principal, claim: string): readonly string[] {
  const further = claims?.[claim]
  if (further) return further
  if (!Object.hasOwn(principal, claim)) return []
  const value = principal[claim as keyof typeof principal]
  if (value === undefined) return []
  return Array.isArray(value) ? value.map(String) : [String(value)]
}
