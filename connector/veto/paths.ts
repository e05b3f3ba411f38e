/**
 * Paths of a veto file against the path that the origin gets. Origins read a path in more ways than one: with escapes
 * resolved once or twice, without regard to case, with slashes collapsed and parameters dropped. A path that is vetoed
 * is vetoed in every reading; one that is excepted from a veto has to be so in all of them.
 */

/** Beyond what any reading makes plain: what follows could lie anywhere. */
const unclear = /\\|%5c|%00|%(?![0-9a-f]{2})|(?:^|\/|%2f)(?:\.|%2e){1,2}(?=[/;?]|%2f|%3b|$)/i

/** The same where escapes are resolved, some of them for the second time: a sign of percent may well be left over. */
const unclearWithin = /[\\\0]|(?:^|\/)\.{1,2} *(?=[/;?]|$)/

export type PathMatch = (path: string) => boolean

/** Whether a path lies at or below one of the prefixes, in any reading; an unclear one does. */
export function anyReading(prefixes: readonly string[]): PathMatch {
  const low = prefixes.map(folded)
  return path => {
    const readings = readingsOf(path)
    return readings?.some(reading => isBelowAny(folded(reading), low)) ?? true
  }
}

/** Whether it does in every reading; an unclear one does not. */
export function everyReading(prefixes: readonly string[]): PathMatch {
  return path => readingsOf(path)?.every(reading => isBelowAny(reading, prefixes)) ?? false
}

/** Undefined for an unclear path. */
function readingsOf(path: string): string[] | undefined {
  if (!path.startsWith('/') || unclear.test(path)) return undefined
  // Most paths have one reading alone.
  if (/^[\w/-]*$/.test(path) && !path.includes('//')) return [path]
  const once = decoded(path)
  const readings = [path, ...once, ...once.flatMap(decoded)]
  if (readings.some(reading => unclearWithin.test(folded(reading)))) return undefined
  return readings.flatMap(reading => [reading, simple(reading)])
}

/** Octets are UTF-8 for most, and Latin-1 for some. */
function decoded(path: string): string[] {
  const octets = Buffer.from(
    path.replace(/%[0-9a-f]{2}/gi, octet =>
      String.fromCharCode(Number.parseInt(octet.slice(1), 16)),
    ),
    'latin1',
  )
  return [octets.toString('utf8'), octets.toString('latin1')]
}

/** Without parameters, repeated slashes, and what file systems drop from the end of a name. */
function simple(path: string): string {
  return path
    .replace(/;[^/]*/g, '')
    .replace(/(?<![. ])[. ]+(?=\/|$)/g, '')
    .replace(/\/{2,}/g, '/')
}

function folded(path: string): string {
  return path.normalize('NFKC').toLowerCase()
}

/** `/admin/` holds /admin and /admin/x, not /administration; a prefix without a slash at its end is read alike. */
function isBelowAny(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some(prefix => {
    const folder = prefix.endsWith('/') ? prefix : `${prefix}/`
    return path.startsWith(folder) || path === folder.slice(0, -1)
  })
}
