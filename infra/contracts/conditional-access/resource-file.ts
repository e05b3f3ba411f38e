/** Files of policies and named locations: what Graph answers to a list, a list alone, or one of them. */

/** The objects in a file, in order. */
export function resourcesIn(content: unknown): object[] {
  if (Array.isArray(content)) return content.flatMap(resourcesIn)
  if (typeof content !== 'object' || content === null) return []
  const parts = ['value', 'namedLocations', 'policies'].flatMap(name => {
    const part: unknown = Reflect.get(content, name)
    return Array.isArray(part) ? part : []
  })
  return parts.length > 0 ? resourcesIn(parts) : [content]
}

/** A policy has conditions; a named location has not. */
export function isPolicy(resource: object): boolean {
  return 'conditions' in resource
}
