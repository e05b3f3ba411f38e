/** What the gateway makes of a provider whose token endpoint answers otherwise than it should, and what it asks of one. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createIdentityProvider, type IdentityProvider } from '../../gateway/identity-provider.ts'

let answer = { status: 500, type: 'text/html', body: '' }
let issuer: string
const lines: string[] = []
const log = pino({ level: 'warn' }, { write: line => void lines.push(line) })
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
  provider = createIdentityProvider(
    { ...config, trustsPlainHttp: true },
    { portalUrl: 'http://portal.example/', log },
  )
})
afterAll(() => {
  server.close().closeAllConnections()
})

const callback = new URL('http://portal.example/.sallyport/callback?code=a&state=s')
const parameters = { state: 's', nonce: 'n', codeVerifier: 'v'.repeat(43) }

test.each([
  ['refuses us', 401, 'application/json', '{"error":"invalid_client"}', 'sign_in_failed'],
  ['answers what is no token', 200, 'application/json', '[]', 'sign_in_failed'],
  ['fails', 500, 'application/json', '{}', 'sign_in_unavailable'],
  ['is not there, says its proxy', 503, 'text/html', '<h1>503</h1>', 'sign_in_unavailable'],
  ['has too much to do', 429, 'text/plain', 'slow down', 'sign_in_unavailable'],
  ['hangs up', 0, '', '', 'sign_in_unavailable'],
])('a provider that %s', async (_what, status, type, body, code) => {
  answer = { status, type, body }
  await expect(provider.idToken(callback, parameters)).rejects.toMatchObject({ code })
})

describe('an ID token', () => {
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowSeconds = Math.floor(Date.now() / 1_000)
  /** The signature is policy's business. */
  const tokenOf = (bytes: number): string => {
    const times = { iat: nowSeconds, exp: nowSeconds + 300 }
    const claims = { iss: issuer, aud: 'sallyport', sub: 'ada', nonce: parameters.nonce, ...times }
    const unsigned = `${encoded({ alg: 'RS256' })}.${encoded(claims)}.`
    return unsigned.padEnd(bytes, 'A')
  }
  const answerWith = (idToken: string) => {
    const tokens = { access_token: 'a', token_type: 'Bearer', id_token: idToken }
    answer = { status: 200, type: 'application/json', body: JSON.stringify(tokens) }
  }

  test('as large as policy takes them is taken', async () => {
    const largest = tokenOf(65_536)
    answerWith(largest)
    expect(await provider.idToken(callback, parameters)).toBe(largest)
  })

  test('that is larger is refused as that, and the log says how large it is and may be', async () => {
    answerWith(tokenOf(65_537))
    await expect(provider.idToken(callback, parameters)).rejects.toMatchObject({
      code: 'id_token_too_large',
      message: 'an ID token of 65537 bytes, and 65536 are the most',
    })
    expect(lines.map(line => JSON.parse(line))).toMatchObject([{ bytes: 65_537, maxBytes: 65_536 }])
  })
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
