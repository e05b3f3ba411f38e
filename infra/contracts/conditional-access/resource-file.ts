/** Files of policies and named locations: what Graph answers to a list, a list alone, or one of them. */

/** The objects in a file, in order. */
export function resourcesIn(content: unknown): object[] {
  if (Array.isArray(content)) return content.flatMap(resourcesIn)
  if (typeof content !== 'object' || content === null) return []
  const parts = ['value', 'namedLocations', 'policies']
    .map((name): unknown => Reflect.get(content, name))
    .filter(part => Array.isArray(part))
  return parts.length > 0 ? resourcesIn(parts) : [content]
}

const ofPolicies = ['conditions', 'grantControls', 'sessionControls', 'state']

/** Also of one that is not whole: what it lacks is to be said of a policy. */
export function isPolicy(resource: object): boolean {
  return ofPolicies.some(name => name in resource)
}
