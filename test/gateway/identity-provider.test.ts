/** What becomes of a sign-in when the provider's token endpoint answers otherwise than it should. */

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
  ['refuses the code', 400, 'application/json', '{"error":"invalid_grant"}', 'sign_in_failed'],
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
