/**
 * What the name of a field says about it, found once for each spelling: the same few come with every message, and to bring
 * one into lower case and look it up takes longer than to find it here.
 */

import { isHopByHop } from './http.ts'
import { ownCopy } from './own-copy.ts'
import { isReserved } from './reserved-fields.ts'

export interface FieldKind {
  /** In lower case. */
  readonly name: string
  readonly isHopByHop: boolean
  readonly isReserved: boolean
}

/** Whoever makes names up gets no more than that into memory. */
const mostKinds = 2_000
const longestSpelling = 64

const kinds = new Map<string, FieldKind>()

export function fieldKind(spelling: string): FieldKind {
  return kinds.get(spelling) ?? found(spelling)
}

function found(spelling: string): FieldKind {
  const own = ownCopy(spelling)
  const name = own.toLowerCase()
  const kind = { name, isHopByHop: isHopByHop(name), isReserved: isReserved(name) }
  if (kinds.size < mostKinds && own.length <= longestSpelling) kinds.set(own, kind)
  return kind
}
