/** What the gateway makes of a provider whose token endpoint answers otherwise than it should, and what it asks of one. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createIdentityProvider, type IdentityProvider } from '../../gateway/identity-provider.ts'

let answer = { status: 500, type: 'text/html', body: '' }
let issuer: string
let provider: IdentityProvider

const server = createServer((req, res) => {
  const metadata = {
    issuer,
    authorization_endpoint: `${issuer}/in`,
    token_endpoint: `${issuer}/to`,
    end_session_endpoint: `${issuer}/out`,
  }
  const isDiscovery = req.url?.includes('openid-configuration')
  const { status, type, body } = isDiscovery
    ? { status: 200, type: 'application/json', body: JSON.stringify(metadata) }
    : answer
  if (status === 0) req.socket.destroy()
  else res.writeHead(status, { 'content-type': type }).end(body)
})

beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const config = { issuer, clientId: 'sallyport', clientSecret: undefined, scopes: 'openid' }
  provider = createIdentityProvider({ ...config, trustsPlainHttp: true }, 'http://portal.example/')
})
afterAll(() => {
  server.close().closeAllConnections()
})

test.each([
  ['refuses us', 401, 'application/json', '{"error":"invalid_client"}', 'sign_in_failed'],
  ['answers what is no token', 200, 'application/json', '[]', 'sign_in_failed'],
  ['fails', 500, 'application/json', '{}', 'sign_in_unavailable'],
  ['is not there, says its proxy', 503, 'text/html', '<h1>503</h1>', 'sign_in_unavailable'],
  ['has too much to do', 429, 'text/plain', 'slow down', 'sign_in_unavailable'],
  ['hangs up', 0, '', '', 'sign_in_unavailable'],
])('a provider that %s', async (_what, status, type, body, code) => {
  answer = { status, type, body }
  const callback = new URL('http://portal.example/.sallyport/callback?code=a&state=s')
  const parameters = { state: 's', nonce: 'n', codeVerifier: 'v'.repeat(43) }
  await expect(provider.idToken(callback, parameters)).rejects.toMatchObject({ code })
})

test.each([
  [2_000, true],
  [20_000, false],
])(
  'signing out with a token of %i characters makes an address that servers take',
  async (chars, isHinted) => {
    const url = await provider.endSessionUrl('x'.repeat(chars))
    expect(url?.href.length).toBeLessThan(8_000)
    expect(url?.searchParams.get('client_id')).toBe('sallyport')
    expect(url?.searchParams.has('id_token_hint')).toBe(isHinted)
  },
)
