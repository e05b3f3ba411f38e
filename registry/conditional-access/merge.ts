/** How a PATCH changes a resource with objects in it. */

import { withoutAnnotations } from '#infra/contracts/graph.ts'

/** The value with the patch's properties: objects are merged, anything else replaces what was there. */
export function merged(before: unknown, patch: unknown): unknown {
  if (!isObject(before) || !isObject(patch)) return patch
  const changes = Object.entries(patch).map(([name, value]) => [name, merged(before[name], value)])
  return { ...before, ...Object.fromEntries(changes) }
}

/** Names of the properties that differ. */
export function topLevelChanges(before: object, after: object): string[] {
  const differs = (name: string) =>
    JSON.stringify(Reflect.get(before, name)) !== JSON.stringify(Reflect.get(after, name))
  return Object.keys(after).filter(differs)
}

function isObject(value: unknown): value is Record<string, unknown> {
  const plain = withoutAnnotations(value)
  return typeof plain === 'object' && plain !== null && !Array.isArray(plain)
}
