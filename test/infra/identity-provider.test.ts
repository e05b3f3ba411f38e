/** The embedded OpenID provider, over HTTP, as the gateway's own client library sees it. */

import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { countAttempts } from '#infra/embedded/identity-provider/attempts.ts'
import { acrMultifactor, acrPassword } from '#infra/embedded/identity-provider/configuration.ts'
import { openStore } from '#infra/embedded/identity-provider/store.ts'
import { sampleUsers } from '#infra/embedded/identity-provider/users.ts'
import { type IdentityProvider, startIdentityProvider } from '#infra/embedded/identity-provider.ts'
import { type Answer, UserAgent } from '../harness/user-agent.ts'

/** The relying party: where the provider sends people back to, and where it announces their sign-out. */
async function startRelyingParty() {
  const logoutTokens: string[] = []
  const server = createServer(async (req, res) => {
    if (req.method === 'POST')
      logoutTokens.push(new URLSearchParams(await text(req)).get('logout_token') ?? '')
    res.end('relying party')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://portal.sallyport.localhost:${(server.address() as AddressInfo).port}`
  return {
    logoutTokens,
    client: {
      id: 'sallyport',
      secret: 'a-secret-of-the-test',
      redirectUris: [`${origin}/.sallyport/callback`],
      postLogoutRedirectUris: [`${origin}/.sallyport/signed-out`],
      backchannelLogoutUri: origin.replace('portal.sallyport.localhost', '127.0.0.1'),
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    },
  }
}

let party: Awaited<ReturnType<typeof startRelyingParty>>
let directory: string
let provider: IdentityProvider
let config: oidc.Configuration

beforeAll(async () => {
  party = await startRelyingParty()
  directory = await mkdtemp(join(tmpdir(), 'identity-provider-'))
  provider = await startIdentityProvider({ storeDirectory: directory, clients: [party.client] })
  config = await discover(provider)
})
afterAll(async () => {
  await provider?.[Symbol.asyncDispose]()
  await party?.[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

/** Below the directory that is removed at the end. */
function ownDirectory(): Promise<string> {
  return mkdtemp(join(directory, 'own-'))
}

function discover({ issuer }: IdentityProvider): Promise<oidc.Configuration> {
  const { id, secret } = party.client
  return oidc.discovery(new URL(issuer), id, secret, undefined, {
    execute: [oidc.allowInsecureRequests],
  })
}

/** One authorization request: its URL, and how its answer becomes tokens. */
async function authorization(extra: Record<string, string> = {}) {
  const verifier = oidc.randomPKCECodeVerifier()
  const [state, nonce] = [oidc.randomState(), oidc.randomNonce()]
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: party.client.redirectUris[0]!,
    scope: 'openid',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...extra,
  }).href
  const tokens = (landed: Answer) =>
    oidc.authorizationCodeGrant(config, new URL(landed.url), {
      pkceCodeVerifier: verifier,
      expectedState: state,
      expectedNonce: nonce,
    })
  return { url, tokens }
}

const [alice, bob, carol] = sampleUsers as [
  (typeof sampleUsers)[number],
  (typeof sampleUsers)[number],
  (typeof sampleUsers)[number],
]

describe('signing in', () => {
  test('one plain form leads back to the client with everything that access is decided on', async () => {
    using browser = new UserAgent()
    const { url, tokens } = await authorization()
    const landed = await browser.signIn(url, alice.name, alice.password)
    expect(landed.text).toBe('relying party')
    const claims = (await tokens(landed)).claims()
    expect(claims).toMatchObject({
      sub: alice.subject,
      preferred_username: 'alice@sallyport.example',
      upn: 'alice@sallyport.example',
      name: 'Alice Adams',
      email: 'alice@sallyport.example',
      groups: ['staff', 'finance', 'warehouse'],
      acr: acrPassword,
      amr: ['pwd'],
      sid: expect.any(String),
      auth_time: expect.any(Number),
    })
  })

  test('a second client request in the same browser asks for nothing', async () => {
    using browser = new UserAgent()
    await browser.signIn((await authorization()).url, bob.name, bob.password)
    const { url, tokens } = await authorization()
    const landed = await browser.visit(url)
    expect((await tokens(landed)).claims()?.sub).toBe(bob.subject)
  })

  test('a wrong password gives the form again, with 401, a message and the user name kept', async () => {
    using browser = new UserAgent()
    const form = await browser.visit((await authorization()).url)
    const again = await browser.submit(form, { username: bob.name, password: 'wonderland' })
    expect(again.status).toBe(401)
    expect(again.text).toContain('do not match')
    expect(again.text).toContain(`value="${bob.name}"`)
    expect(again.text).not.toContain('value="wonderland"')
  })

  test('what was typed comes back escaped', async () => {
    using browser = new UserAgent()
    const form = await browser.visit((await authorization()).url)
    const again = await browser.submit(form, { username: '"><b>x', password: 'y' })
    expect(again.text).toContain('value="&quot;&gt;&lt;b&gt;x"')
  })

  test('the name of somebody else, a prefix or nothing at all does not sign in', async () => {
    using browser = new UserAgent()
    for (const [username, password] of [
      ['alice', alice.password],
      [alice.name, ''],
      ['', ''],
      [alice.name, alice.password.slice(0, -1)],
      [alice.name, `${alice.password} `],
    ] as const) {
      const form = await browser.visit((await authorization()).url)
      expect((await browser.submit(form, { username, password })).status).toBe(401)
    }
  })

  test('ten wrong answers stop further ones, right or wrong, and say how long', async () => {
    using browser = new UserAgent()
    let page = await browser.visit((await authorization()).url)
    const username = 'mallory@sallyport.example'
    for (let count = 0; count < 10; count++) {
      page = await browser.submit(page, { username, password: `guess ${count}` })
      expect(page.status).toBe(401)
    }
    page = await browser.submit(page, { username, password: 'guess' })
    expect(page.status).toBe(429)
    expect(page.text).toMatch(/Wait \d+ seconds/)
    expect(Number(page.header('retry-after'))).toBeGreaterThan(0)
  })

  test('the page needs no script and allows none', async () => {
    using browser = new UserAgent()
    const form = await browser.visit((await authorization()).url)
    expect(form.text).not.toMatch(/<script|\son\w+=/i)
    expect(form.header('content-security-policy')).toContain("default-src 'none'")
    expect(form.text).toContain('for trying out only')
    for (const user of provider.users) expect(form.text).toContain(user.name)
  })
})

describe('a second factor', () => {
  test('is asked for when acr_values wants it, and shows in acr and amr', async () => {
    using browser = new UserAgent()
    const { url, tokens } = await authorization({ acr_values: acrMultifactor })
    const landed = await browser.signIn(url, carol.name, carol.password, { code: carol.code })
    expect((await tokens(landed)).claims()).toMatchObject({
      acr: acrMultifactor,
      amr: ['pwd', 'otp', 'mfa'],
    })
  })

  test('is all that a session lacks: no password is asked for', async () => {
    using browser = new UserAgent()
    await browser.signIn((await authorization()).url, bob.name, bob.password)
    const { url, tokens } = await authorization({ acr_values: acrMultifactor })
    const page = await browser.visit(url)
    expect(page.text).not.toContain('type="password"')
    const landed = await browser.submit(page, { code: bob.code })
    expect((await tokens(landed)).claims()).toMatchObject({ sub: bob.subject, acr: acrMultifactor })
  })

  test('does not replace the password where a new sign-in is wanted', async () => {
    using browser = new UserAgent()
    await browser.signIn((await authorization()).url, bob.name, bob.password)
    const { url } = await authorization({ acr_values: acrMultifactor, prompt: 'login' })
    const page = await browser.visit(url)
    expect(page.text).toContain('type="password"')
    const skipped = await browser.visit(`${page.url}/code`, {
      method: 'POST',
      body: new URLSearchParams({ code: bob.code }),
    })
    expect(skipped.text).toContain('type="password"')
  })

  test('refuses the code of somebody else', async () => {
    using browser = new UserAgent()
    const { url } = await authorization({ acr_values: acrMultifactor })
    await expect(
      browser.signIn(url, alice.name, alice.password, { code: bob.code }),
    ).rejects.toThrow('401')
  })
})

describe('signing out', () => {
  test('with an ID token ends on the client without a question, and the client is told', async () => {
    using browser = new UserAgent()
    const { url, tokens } = await authorization()
    const granted = await tokens(await browser.signIn(url, alice.name, alice.password))
    const told = party.logoutTokens.length
    const landed = await browser.visit(endSession(granted.id_token!))
    expect(landed.url).toBe(`${party.client.postLogoutRedirectUris[0]}?state=s1`)
    expect(party.logoutTokens.length).toBe(told + 1)
    const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri!))
    const { payload } = await jwtVerify(party.logoutTokens.at(-1)!, keys, {
      issuer: provider.issuer,
      audience: party.client.id,
      typ: 'logout+jwt',
    })
    expect(payload.sid).toBe(granted.claims()?.sid)
    const next = await browser.visit((await authorization()).url)
    expect(next.text).toContain('type="password"')
  })

  test('with an ID token but no session left still ends on the client', async () => {
    using browser = new UserAgent()
    const { url, tokens } = await authorization()
    const granted = await tokens(await browser.signIn(url, alice.name, alice.password))
    browser.cookies.clear()
    const landed = await browser.visit(endSession(granted.id_token!))
    expect(landed.url).toBe(`${party.client.postLogoutRedirectUris[0]}?state=s1`)
  })

  test('by a bare link, or with the token of somebody else, asks first', async () => {
    using browser = new UserAgent()
    using other = new UserAgent()
    const theirs = await authorization()
    const granted = await theirs.tokens(await other.signIn(theirs.url, bob.name, bob.password))
    await browser.signIn((await authorization()).url, alice.name, alice.password)
    for (const link of [`${provider.issuer}/session/end`, endSession(granted.id_token!)]) {
      const question = await browser.visit(link)
      expect(question.text).toContain('Do you want to sign out?')
      expect(question.text).toContain('Alice Adams')
    }
    const question = await browser.visit(`${provider.issuer}/session/end`)
    const done = await browser.submit(question, { logout: 'yes' })
    expect(done.text).toContain('You are signed out')
  })

  test('cannot be completed without the secret of the session', async () => {
    using browser = new UserAgent()
    await browser.signIn((await authorization()).url, alice.name, alice.password)
    const refused = await browser.visit(`${provider.issuer}/sign-out/complete?xsrf=guess`)
    expect(refused.status).toBe(400)
    const still = await browser.visit((await authorization()).url)
    expect(still.text).toBe('relying party')
  })

  function endSession(idToken: string): string {
    return oidc.buildEndSessionUrl(config, {
      id_token_hint: idToken,
      post_logout_redirect_uri: party.client.postLogoutRedirectUris[0]!,
      state: 's1',
    }).href
  }
})

describe('refusals', () => {
  test('a redirect to anywhere but the registered place is refused, on a page', async () => {
    using browser = new UserAgent()
    const { url } = await authorization({ redirect_uri: 'http://evil.example/' })
    const page = await browser.visit(url)
    expect(page.status).toBe(400)
    expect(page.url).toContain(provider.issuer)
    expect(page.text).toContain('What you can do')
  })

  test('a request without PKCE gets no code', async () => {
    using browser = new UserAgent()
    const url = new URL((await authorization()).url)
    url.searchParams.delete('code_challenge')
    url.searchParams.delete('code_challenge_method')
    const landed = await browser.visit(url.href)
    expect(landed.url).toContain('error=invalid_request')
  })

  test('the provider answers to its own host name only', async () => {
    using browser = new UserAgent()
    for (const host of ['evil.example', `127.0.0.1:${provider.port}`, 'localhost']) {
      const answer = await browser.request(`${provider.issuer}/jwks`, { headers: { host } })
      expect(answer.status).toBe(421)
    }
  })

  test('a form that is too long is refused, with and without its length announced', async () => {
    using browser = new UserAgent()
    const form = await browser.visit((await authorization()).url)
    const long = await browser.submit(form, { username: 'x'.repeat(20_000), password: 'y' })
    expect(long.status).toBe(413)
    const chunked = await fetch(`${form.url}/password`, {
      method: 'POST',
      headers: { cookie: browser.cookies.header(new URL(form.url))! },
      body: new Blob(['username='.padEnd(20_000, 'x')]).stream(),
      duplex: 'half',
    } as RequestInit)
    expect(chunked.status).toBe(413)
  })

  test('a sign-in that is over, and one of another browser, say so', async () => {
    using browser = new UserAgent()
    using other = new UserAgent()
    const form = await browser.visit((await authorization()).url)
    const stolen = await other.visit(form.url)
    expect(stolen.status).toBe(400)
    expect(stolen.text).toContain('This sign-in is over')
  })

  test('an unknown address is a page with 404, the bare one says what this is', async () => {
    using browser = new UserAgent()
    const missing = await browser.visit(`${provider.issuer}/nothing`)
    expect(missing.status).toBe(404)
    expect(missing.text).toContain('There is no such page.')
    expect((await browser.visit(`${provider.issuer}/`)).text).toContain(
      'Embedded identity provider',
    )
  })
})

describe('a restart', () => {
  test('keeps keys and sessions: nobody signs in again', async () => {
    const own = await ownDirectory()
    using browser = new UserAgent()
    const first = await startIdentityProvider({ storeDirectory: own, clients: [party.client] })
    const keys = await (await fetch(`${first.issuer}/jwks`)).text()
    const start = authorizeAt(first.issuer)
    await browser.signIn(start, alice.name, alice.password)
    await first[Symbol.asyncDispose]()
    for (const name of await readdir(own))
      expect((await stat(join(own, name))).mode & 0o777).toBe(0o600)
    const { port } = first
    await using second = await startIdentityProvider({
      storeDirectory: own,
      port,
      clients: [party.client],
    })
    expect(await (await fetch(`${second.issuer}/jwks`)).text()).toBe(keys)
    expect((await browser.visit(start)).url).toContain('code=')
  })

  test('with a damaged key file names the file and the way out', async () => {
    const own = await ownDirectory()
    await writeFile(join(own, 'keys.json'), '{"signingKeys":[]}')
    await expect(
      startIdentityProvider({ storeDirectory: own, clients: [party.client] }),
    ).rejects.toThrow(/keys\.json.*delete it/)
  })

  test('with damaged sessions starts without them', async () => {
    const own = await ownDirectory()
    await writeFile(join(own, 'sessions.json'), '[["Session:x"')
    await using store = await openStore(own)
    expect(await store.adapter('Session').find('x')).toBeUndefined()
  })

  function authorizeAt(issuer: string): string {
    const query = new URLSearchParams({
      client_id: party.client.id,
      redirect_uri: party.client.redirectUris[0]!,
      response_type: 'code',
      scope: 'openid',
      code_challenge: 'x'.repeat(43),
      code_challenge_method: 'S256',
    })
    return `${issuer}/auth?${query}`
  }
})

describe('memory', () => {
  test('holds a bounded number of entries, the latest ones', async () => {
    await using store = await openStore(await ownDirectory())
    const codes = store.adapter('AuthorizationCode')
    for (let count = 0; count < 10_500; count++) await codes.upsert(`c${count}`, {}, 60)
    expect(await codes.find('c0')).toBeUndefined()
    expect(await codes.find('c10499')).toBeDefined()
  })

  test('a revoked grant takes its tokens along and no others', async () => {
    await using store = await openStore(await ownDirectory())
    const tokens = store.adapter('AccessToken')
    await tokens.upsert('a', { grantId: 'g1' }, 60)
    await tokens.upsert('b', { grantId: 'g2' }, 60)
    await tokens.revokeByGrantId('g1')
    expect(await tokens.find('a')).toBeUndefined()
    expect(await tokens.find('b')).toBeDefined()
  })

  test('a wait for wrong answers ends after a minute', () => {
    let now = 1_000_000
    const attempts = countAttempts(() => now)
    for (let count = 0; count < 10; count++) attempts.failed('x')
    expect(attempts.waitSeconds('x')).toBe(60)
    expect(attempts.waitSeconds('y')).toBe(0)
    now += 59_000
    expect(attempts.waitSeconds('x')).toBe(1)
    now += 1_000
    expect(attempts.waitSeconds('x')).toBe(0)
  })
})
