/** Condition `locations`: named ones by id, every one, or those that are marked as trusted. */

import { namesAll } from './applications.ts'
import { any, type Condition, type Test, within } from './condition.ts'

const trustedName = 'alltrusted'

export const locations: Condition = {
  reasons: { met: 'location-in-scope', unmet: 'location-not-in-scope' },
  analysis: 'location',
  compile({ locations: condition }) {
    if (!condition) return undefined
    const { includeLocations, excludeLocations } = condition
    if (includeLocations.length + excludeLocations.length === 0) return undefined
    const include = includeLocations.length === 0 ? () => true : atOneOf(includeLocations)
    const exclude = atOneOf(excludeLocations)
    return signIn => within(include(signIn), exclude(signIn))
  },
}

function atOneOf(names: readonly string[]): Test {
  if (names.length === 0) return () => false
  if (namesAll(names)) return () => true
  const isTrusted = names.some(name => name.toLowerCase() === trustedName)
  const ids = names.filter(name => name.toLowerCase() !== trustedName)
  if (ids.length === 0) return ({ place }) => place?.isTrusted
  return ({ place }) => {
    if (!place) return undefined
    const isAt = any(ids, id => place.isAt(id))
    return isTrusted && isAt !== true ? either(place.isTrusted, isAt) : isAt
  }
}

function either(one: boolean | undefined, other: boolean | undefined): boolean | undefined {
  if (one === true || other === true) return true
  return one === undefined || other === undefined ? undefined : false
}
