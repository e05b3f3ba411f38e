/** Set-Cookie of our own cookies: always host-only, Secure and out of reach for scripts (RFC 6265bis §4.1.3.2). */

export interface CookieOptions {
  /** Left out: the cookie ends with the browser. Zero removes it. */
  maxAgeSeconds?: number
}

export function setCookie(
  name: string,
  value: string,
  { maxAgeSeconds }: CookieOptions = {},
): string {
  const age = maxAgeSeconds === undefined ? '' : `; Max-Age=${Math.floor(maxAgeSeconds)}`
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Lax${age}`
}
