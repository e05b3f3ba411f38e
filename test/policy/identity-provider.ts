/**
 * An OpenID provider that vouches for anything: real discovery, keys and code flow over HTTP, and ID tokens with whatever
 * claims, algorithm and key a test asks for. The embedded provider cannot be made to misbehave like this.
 */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export const clientId = 'sallyport-test'

export interface TestProvider extends AsyncDisposable {
  readonly issuer: string
  /** Requests for keys so far. */
  readonly keyRequests: number
  /** An ID token as this provider would issue it now; what is given replaces or (undefined) removes claims. */
  idToken(claims?: Claims, header?: TokenHeader): Promise<string>
  /** What gateways have asked of it for users who sign in, oldest first. Nobody is shown a form. */
  readonly asked: readonly URLSearchParams[]
  /** Claims of the ID tokens that gateways get from now on, as those of `idToken`. */
  vouchFor(claims: Claims): void
  /** Signs with a new key from now on; the old one is published no longer. */
  rotateKeys(): Promise<void>
  /** What discovery and keys answer instead of the truth. */
  misbehave(answers: { metadata?: object; status?: number }): void
  /** Ends the server. */
  stop(): Promise<void>
}

export type Claims = Record<string, unknown>

export interface TokenHeader {
  alg?: string
  kid?: string
  key?: CryptoKey | Uint8Array
}

export async function startTestProvider(): Promise<TestProvider> {
  let signing = await newKey('key-1')
  let answers: { metadata?: object; status?: number } = {}
  let keyRequests = 0
  const asked: URLSearchParams[] = []
  let vouched: Claims = {}
  const idToken: TestProvider['idToken'] = (claims = {}, header = {}) => {
    const { alg = 'ES256', kid = signing.jwk.kid, key } = header
    const nowSeconds = Math.floor(Date.now() / 1_000)
    const payload = {
      iss: issuer,
      aud: clientId,
      sub: 'subject-1',
      iat: nowSeconds,
      exp: nowSeconds + 300,
      auth_time: nowSeconds - 5,
      preferred_username: 'ada@example.com',
      name: 'Ada Lovelace',
      groups: ['Editors'],
      amr: ['pwd', 'otp'],
      ...claims,
    }
    return new SignJWT(payload)
      .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
      .sign(key ?? signing.privateKey)
  }
  /** The user is sent back at once; the code is the number of the request. */
  const authorize = (query: URLSearchParams) => {
    asked.push(query)
    const back = new URL(query.get('redirect_uri') ?? '')
    back.searchParams.set('code', `${asked.length}`)
    back.searchParams.set('state', query.get('state') ?? '')
    return back.href
  }
  const tokensFor = async (code: string | null) => ({
    access_token: 'opens-nothing',
    token_type: 'Bearer',
    expires_in: 300,
    id_token: await idToken({ nonce: asked[Number(code) - 1]?.get('nonce'), ...vouched }),
  })
  const server = createServer(async (req, res) => {
    const url = new URL(req.url ?? '/', issuer)
    if (url.pathname === '/authorize')
      return res.writeHead(302, { location: authorize(url.searchParams) }).end()
    const isForKeys = url.pathname === '/keys'
    if (isForKeys) keyRequests++
    const metadata = {
      issuer,
      jwks_uri: `${issuer}/keys`,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      id_token_signing_alg_values_supported: ['ES256'],
      ...answers.metadata,
    }
    const body =
      url.pathname === '/token'
        ? await tokensFor(new URLSearchParams(await text(req)).get('code'))
        : isForKeys
          ? { keys: [signing.jwk] }
          : metadata
    res.writeHead(answers.status ?? 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(body))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    issuer,
    get keyRequests() {
      return keyRequests
    },
    idToken,
    asked,
    vouchFor: claims => {
      vouched = claims
    },
    rotateKeys: async () => {
      signing = await newKey(`key-${Math.random()}`)
    },
    misbehave: changed => {
      answers = changed
    },
    stop: () => stop(server),
    [Symbol.asyncDispose]: () => stop(server),
  }
}

async function newKey(kid: string): Promise<{ privateKey: CryptoKey; jwk: JWK }> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true })
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig' } }
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
}
