/**
 * Cookies as a browser keeps them (RFC 6265bis): host-only unless a domain is given, paths, prefixes, lifetimes.
 * Plain http on localhost counts as secure, as it does in browsers; ports do not separate cookies.
 */

export interface Cookie {
  name: string
  value: string
  host: string
  isHostOnly: boolean
  path: string
  isSecure: boolean
  isHttpOnly: boolean
  sameSite: string | undefined
  expiresAt: number
}

export class CookieJar {
  #cookies: Cookie[] = []

  /** What the jar holds for a URL, longest path first. */
  for(url: URL): Cookie[] {
    const now = Date.now()
    this.#cookies = this.#cookies.filter(cookie => cookie.expiresAt > now)
    return this.#cookies
      .filter(cookie => isSentTo(cookie, url))
      .toSorted((a, b) => b.path.length - a.path.length)
  }

  header(url: URL): string | undefined {
    const pairs = this.for(url).map(({ name, value }) => `${name}=${value}`)
    return pairs.length > 0 ? pairs.join('; ') : undefined
  }

  /** Takes one Set-Cookie line; answers whether a browser would have kept it. */
  set(line: string, url: URL): boolean {
    const cookie = parse(line, url)
    if (!cookie || !isAllowed(cookie, url)) return false
    this.#cookies = this.#cookies.filter(other => !isSame(other, cookie))
    this.#cookies.push(cookie)
    return true
  }

  all(): readonly Cookie[] {
    return this.#cookies
  }

  clear(): void {
    this.#cookies = []
  }
}

function parse(line: string, url: URL): Cookie | undefined {
  const [pair = '', ...rest] = line.split(';')
  const [name, value] = halves(pair)
  if (value === undefined || name === '') return undefined
  const attributes = new Map(
    rest.map(halves).map(([key, content]) => [key.toLowerCase(), content ?? '']),
  )
  const domain = attributes.get('domain')?.replace(/^\./, '').toLowerCase()
  const path = attributes.get('path')
  return {
    name,
    value,
    host: domain || url.hostname,
    isHostOnly: !domain,
    path: path?.startsWith('/') ? path : defaultPath(url),
    isSecure: attributes.has('secure'),
    isHttpOnly: attributes.has('httponly'),
    sameSite: attributes.get('samesite'),
    expiresAt: expiry(attributes),
  }
}

function halves(text: string): [string, string | undefined] {
  const at = text.indexOf('=')
  return at < 0 ? [text.trim(), undefined] : [text.slice(0, at).trim(), text.slice(at + 1).trim()]
}

function expiry(attributes: Map<string, string>): number {
  const maxAge = attributes.get('max-age')
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge))
    return Number(maxAge) <= 0 ? 0 : Date.now() + Number(maxAge) * 1_000
  const moment = Date.parse(attributes.get('expires') ?? '')
  return Number.isNaN(moment) ? Number.POSITIVE_INFINITY : moment
}

function defaultPath(url: URL): string {
  const end = url.pathname.lastIndexOf('/')
  return end <= 0 ? '/' : url.pathname.slice(0, end)
}

function isAllowed(cookie: Cookie, url: URL): boolean {
  if (cookie.isSecure && !isTrustworthy(url)) return false
  if (cookie.name.startsWith('__Secure-') && !cookie.isSecure) return false
  if (cookie.name.startsWith('__Host-'))
    return cookie.isSecure && cookie.isHostOnly && cookie.path === '/'
  // "localhost" and top-level names are public suffixes: nobody may set a cookie for all of them.
  return cookie.isHostOnly || (cookie.host.includes('.') && isWithin(url.hostname, cookie.host))
}

function isSentTo(cookie: Cookie, url: URL): boolean {
  const fitsHost = cookie.isHostOnly
    ? cookie.host === url.hostname
    : isWithin(url.hostname, cookie.host)
  return fitsHost && fitsPath(cookie.path, url.pathname) && (!cookie.isSecure || isTrustworthy(url))
}

function fitsPath(path: string, requested: string): boolean {
  if (requested === path) return true
  return requested.startsWith(path.endsWith('/') ? path : `${path}/`)
}

function isWithin(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`)
}

function isTrustworthy(url: URL): boolean {
  return url.protocol === 'https:' || isWithin(url.hostname, 'localhost')
}

function isSame(a: Cookie, b: Cookie): boolean {
  return a.name === b.name && a.host === b.host && a.path === b.path
}
