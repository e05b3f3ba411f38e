/** Set-Cookie of our own cookies: always Secure and of this host alone (`__Host-`, RFC 6265bis §4.1.3.2). */

export interface CookieOptions {
  /** Left out: the cookie ends with the browser. Zero removes it. */
  maxAgeSeconds?: number
  /** False only where an application's own programs have to read its access cookie. */
  isHttpOnly?: boolean
  /** Browsers send it with what pages of other sites ask, too. */
  isCrossSite?: boolean
}

export function setCookie(
  name: string,
  value: string,
  { maxAgeSeconds, isHttpOnly = true, isCrossSite = false }: CookieOptions = {},
): string {
  const age = maxAgeSeconds === undefined ? '' : `; Max-Age=${Math.floor(maxAgeSeconds)}`
  const site = isCrossSite ? 'None' : 'Lax'
  return `${name}=${value}; Path=/; Secure${isHttpOnly ? '; HttpOnly' : ''}; SameSite=${site}${age}`
}
