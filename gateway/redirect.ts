/** A redirect of our own: kept by no cache, and whoever it leads to is not told where it came from. */

import { type ClientResponse, flatHeaders } from './front/client.ts'

export function redirect(res: ClientResponse, url: string, cookies: readonly string[]): void {
  const headers = flatHeaders({
    Location: url,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'Set-Cookie': cookies,
  })
  res.sendWhole(302, 'Found', headers, Buffer.alloc(0))
}
