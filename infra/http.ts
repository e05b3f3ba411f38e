/**
 * Header and path rules that both ends share. Headers are flat lists of names and values in turn, as Node's
 * `rawHeaders`, so that order and duplicates survive (RFC 9110 §5.3).
 */

/** RFC 9110 §7.6.1 and the fields that older software treats alike. */
const hopByHop = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

/** Cookies of our own: never seen by an origin, never set by one. */
export const ownCookiePrefix = '__Host-sallyport'

/** Paths below it are the gateway's own, at every host. */
export const controlPrefix = '/.sallyport/'

/** Of a cookie without a name some browsers send the value alone: `=a=b` comes back as `a=b`. */
export function setsOwnCookie(setCookie: string): boolean {
  return setCookie.replace(/^[\s=]+/, '').startsWith(ownCookiePrefix)
}

export function isHopByHop(lowerCaseName: string): boolean {
  return hopByHop.has(lowerCaseName)
}

/** The first value of a field. `name` in lower case. */
export function headerValue(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    const candidate = headers[i] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name) return headers[i + 1]
  }
  return undefined
}

/**
 * The length behind all other fields: of a Content-Disposition that follows it Node reads the octets as UTF-8 and writes
 * Latin-1, or finds that it cannot.
 */
export function withLengthLast(headers: string[]): string[] {
  if (headerValue(headers, 'content-disposition') === undefined) return headers
  const length = headerValue(headers, 'content-length')
  if (length === undefined) return headers
  const others = headers.filter((_, i) => headers[i & ~1]?.toLowerCase() !== 'content-length')
  return [...others, 'Content-Length', length]
}

const connection = 'connection'

/** Fields that a Connection header nominates as hop-by-hop, besides the well-known ones; undefined when none. */
export function nominated(headers: readonly string[]): Set<string> | undefined {
  let names: Set<string> | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const candidate = headers[i] as string
    if (candidate.length !== connection.length || candidate.toLowerCase() !== connection) continue
    for (const item of (headers[i + 1] as string).split(',')) {
      const name = item.trim().toLowerCase()
      if (name === '' || name === 'close' || hopByHop.has(name)) continue
      names ??= new Set()
      names.add(name)
    }
  }
  return names
}

/** A path of which two programs may think differently: dot segments, backslashes, NUL, a fragment. */
const ambiguous = /[\\#]|%5c|%00|(?:^|\/|%2f)(?:\.|%2e){1,2}(?=[/;?]|%2f|%3b|$)/i

/** What only matters where paths of one host belong to different applications: slashes that some collapse. */
const ambiguousBetweenPaths = /\/\/|%2f/i

export function isAmbiguousPath(path: string): boolean {
  return ambiguous.test(path)
}

export function isAmbiguousBetweenPaths(path: string): boolean {
  return ambiguousBetweenPaths.test(path)
}

/** The path of a request target, without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

/** Whether `path` lies at or below `prefix`, which ends with a slash: `/app/` holds `/app/x` and `/app`, not `/apple`. */
export function isBelow(path: string, prefix: string): boolean {
  return path.startsWith(prefix) || path === prefix.slice(0, -1)
}

/** A flat list as the pairs that some of Node's methods want. */
export function pairsOf(list: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let i = 0; i < list.length; i += 2) pairs.push([list[i] as string, list[i + 1] as string])
  return pairs
}

/** A flat list as the record that others want, its names in lower case. */
export function recordOf(list: readonly string[]): Record<string, string[]> {
  // With a prototype, what it has (`constructor`) would be taken for a field that stands there already.
  const record: Record<string, string[]> = Object.create(null)
  for (let i = 0; i < list.length; i += 2) {
    const name = (list[i] as string).toLowerCase()
    record[name] ??= []
    record[name].push(list[i + 1] as string)
  }
  return record
}

/**
 * Event streams and gRPC: messages that come now and then, with hours between them. Nobody is late with the next one,
 * and a connection of their own would be cut by whatever stands in its way and takes it for idle.
 */
export function isMessageStream(headers: readonly string[]): boolean {
  return /^(text\/event-stream|application\/grpc)\b/i.test(
    headerValue(headers, 'content-type') ?? '',
  )
}
