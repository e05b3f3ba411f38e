/**
 * Claims of the ID token that only sign-on to applications uses, besides those that every principal has: which ones the
 * administrator says, so that nothing travels with a lease that nobody asked for.
 */

import type { JWTPayload } from 'jose'
import { z } from 'zod'
import type { Principal } from '#infra/contracts/principal.ts'

/** Names that applications go by, each with the claim that it comes from. */
export type FurtherClaims = ReadonlyMap<string, string>

/** What Kerberos may need, by the names that Entra ID's attributes have. */
const always = 'onPremisesUserPrincipalName,onPremisesSamAccountName'

const entry = /^([A-Za-z][A-Za-z0-9_.-]{0,63})(?:=(\S{1,128}))?$/

export const FurtherClaims = z
  .string()
  .default('')
  .transform(text => `${always},${text}`.split(',').map(each => each.trim()))
  .transform(entries => entries.filter(each => each !== ''))
  .refine(entries => entries.every(each => entry.test(each)), {
    error: 'must be names of claims separated by commas, or NAME=CLAIM to call one otherwise',
  })
  .refine(entries => entries.length <= 40, { error: 'must be at most 38 claims' })
  .transform(
    (entries): FurtherClaims =>
      new Map(
        entries.map(each => {
          const [, name = '', claim = name] = entry.exec(each) ?? []
          return [name, claim]
        }),
      ),
  )

/** Of all together: they travel with every lease of an application that signs on. */
const maxTotalChars = 2 * 1024

/** Values that are no text, number or yes and no, or are too long, count as not there. */
export function readFurtherClaims(payload: JWTPayload, wanted: FurtherClaims): Principal['claims'] {
  const found: Record<string, string[]> = {}
  let left = maxTotalChars
  for (const [name, claim] of wanted) {
    const values = valuesOf(payload[claim])
    const chars = JSON.stringify(values).length + name.length
    if (values.length === 0 || chars > left) continue
    found[name] = values
    left -= chars
  }
  return Object.keys(found).length > 0 ? found : undefined
}

const maxValues = 100
const maxChars = 512

function valuesOf(claim: unknown): string[] {
  const all = Array.isArray(claim) ? claim : [claim]
  return all
    .filter(value => ['string', 'number', 'boolean'].includes(typeof value))
    .map(String)
    .filter(value => value !== '' && value.length <= maxChars)
    .slice(0, maxValues)
}
