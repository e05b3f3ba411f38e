/** ID tokens: policy believes the provider's signature and nothing else. */

import { generateKeyPair } from 'jose'
import { describe, expect, test } from 'vitest'
import { createIdTokenVerifier } from '../../policy/id-token.ts'
import { type Claims, clientId, startTestProvider, type TestProvider } from './identity-provider.ts'

const trusting = (issuer: string) =>
  createIdTokenVerifier({ issuer, clientId, trustsPlainHttp: true })

const seconds = (offset: number) => Math.floor(Date.now() / 1_000) + offset

async function reasonFor(provider: TestProvider, claims: Claims): Promise<string> {
  const verified = await trusting(provider.issuer)(await provider.idToken(claims))
  return verified.isAccepted ? 'accepted' : verified.reason
}

describe('an ID token is accepted', () => {
  test('with everything that access can depend on', async () => {
    await using provider = await startTestProvider()
    const token = await provider.idToken({ email: 'ada@mail.example', acr: 'mfa', sid: 's-1' })
    expect(await trusting(provider.issuer)(token)).toEqual({
      isAccepted: true,
      principal: {
        subject: 'subject-1',
        userPrincipalName: 'ada@example.com',
        displayName: 'Ada Lovelace',
        mail: 'ada@mail.example',
        groups: ['Editors'],
        amr: ['pwd', 'otp'],
        acr: 'mfa',
        authTime: expect.any(Number),
        providerSessionId: 's-1',
        issuer: provider.issuer,
      },
    })
  })

  test('and counts the user as authenticated when the provider says, or as never', async () => {
    await using provider = await startTestProvider()
    const timeIn = async (claims: object) =>
      trusting(provider.issuer)(await provider.idToken({ ...claims }))
    expect(await timeIn({ auth_time: 1_700_000_000.5 })).toMatchObject({
      principal: { authTime: 1_700_000_000 },
    })
    expect(await timeIn({ auth_time: undefined })).toMatchObject({ principal: { authTime: 0 } })
  })

  test.each([
    [{ upn: 'u@x', preferred_username: 'p@x', email: 'e@x' }, 'u@x'],
    [{ preferred_username: 'p@x', email: 'e@x' }, 'p@x'],
    [{ preferred_username: undefined, email: 'e@x' }, 'e@x'],
    [{ preferred_username: '  ', email: 'e@x' }, 'e@x'],
  ])('and names the user by upn, preferred_username, email: %j', async (claims, name) => {
    await using provider = await startTestProvider()
    const verified = await trusting(provider.issuer)(await provider.idToken(claims))
    expect(verified).toMatchObject({ principal: { userPrincipalName: name } })
  })

  test('within a minute of clock difference', async () => {
    await using provider = await startTestProvider()
    expect(await reasonFor(provider, { exp: seconds(-50), iat: seconds(-350) })).toBe('accepted')
    expect(await reasonFor(provider, { iat: seconds(50) })).toBe('accepted')
  })

  test('with a key that the provider has only just begun to use', async () => {
    await using provider = await startTestProvider()
    await provider.rotateKeys()
    expect(await reasonFor(provider, {})).toBe('accepted')
  })

  test('while the provider is away, once its keys are known', async () => {
    await using provider = await startTestProvider()
    const verify = trusting(provider.issuer)
    await verify(await provider.idToken())
    await provider.stop()
    expect(await verify(await provider.idToken())).toMatchObject({ isAccepted: true })
    expect(provider.keyRequests).toBe(1)
  })

  test('without groups when the claim is missing or not a list of names', async () => {
    await using provider = await startTestProvider()
    for (const groups of [undefined, 7, [{ name: 'Admins' }], { Admins: true }]) {
      const verified = await trusting(provider.issuer)(await provider.idToken({ groups }))
      expect(verified).toMatchObject({ isAccepted: true, principal: { groups: [] } })
    }
  })
})

describe('an ID token is refused', () => {
  test.each<[string, Claims, string]>([
    ['of another issuer', { iss: 'https://elsewhere.example' }, 'id-token-wrong-issuer'],
    ['for another client', { aud: 'other' }, 'id-token-wrong-audience'],
    ['for several clients and issued to none', { aud: [clientId, 'b'] }, 'id-token-wrong-audience'],
    ['issued to another client', { azp: 'other' }, 'id-token-wrong-audience'],
    ['without an audience', { aud: undefined }, 'id-token-claims-unusable'],
    ['without an issuer', { iss: undefined }, 'id-token-claims-unusable'],
    ['without a subject', { sub: undefined }, 'id-token-claims-unusable'],
    ['without an expiry', { exp: undefined }, 'id-token-claims-unusable'],
    ['without a time of issue', { iat: undefined }, 'id-token-claims-unusable'],
    [
      'that expired over a minute ago',
      { exp: seconds(-70), iat: seconds(-300) },
      'id-token-expired',
    ],
    ['that was issued long ago', { iat: seconds(-700) }, 'id-token-not-fresh'],
    ['from the future', { iat: seconds(120) }, 'id-token-not-fresh'],
    ['that is not valid yet', { nbf: seconds(120) }, 'id-token-not-fresh'],
    ['that names nobody', { preferred_username: undefined }, 'user-name-missing'],
    [
      'with an address that was not verified',
      { preferred_username: undefined, email: 'ceo@example.com', email_verified: false },
      'user-name-missing',
    ],
    ['with line breaks in the name', { preferred_username: 'a\r\nX-User: b' }, 'user-name-missing'],
    ['with an empty subject', { sub: '' }, 'id-token-claims-unusable'],
    [
      'with a name beyond measure',
      { preferred_username: 'a'.repeat(600) },
      'id-token-claims-unusable',
    ],
  ])('%s', async (_, claims, reason) => {
    await using provider = await startTestProvider()
    expect(await reasonFor(provider, claims)).toBe(reason)
  })

  test('with "alg": "none"', async () => {
    await using provider = await startTestProvider()
    const [, payload] = (await provider.idToken()).split('.')
    const header = Buffer.from('{"alg":"none"}').toString('base64url')
    const verified = await trusting(provider.issuer)(`${header}.${payload}.`)
    expect(verified).toEqual({ isAccepted: false, reason: 'id-token-algorithm-refused' })
  })

  test('signed with a shared secret, whatever it is', async () => {
    await using provider = await startTestProvider()
    for (const secret of ['secret', clientId, provider.issuer]) {
      const key = new TextEncoder().encode(secret.padEnd(32, '.'))
      const token = await provider.idToken({}, { alg: 'HS256', key })
      const verified = await trusting(provider.issuer)(token)
      expect(verified).toEqual({ isAccepted: false, reason: 'id-token-algorithm-refused' })
    }
  })

  test('signed by somebody else, under a strange key id or the right one', async () => {
    await using provider = await startTestProvider()
    const { privateKey } = await generateKeyPair('ES256')
    const verify = trusting(provider.issuer)
    const strange = await provider.idToken({}, { kid: 'strange', key: privateKey })
    expect(await verify(strange)).toMatchObject({ reason: 'id-token-key-unknown' })
    const forged = await provider.idToken({}, { key: privateKey })
    expect(await verify(forged)).toMatchObject({ reason: 'id-token-signature-invalid' })
  })

  test('when a claim was changed after signing', async () => {
    await using provider = await startTestProvider()
    const [header, , signature] = (await provider.idToken()).split('.')
    const [, other] = (await provider.idToken({ groups: ['Admins'] })).split('.')
    const verified = await trusting(provider.issuer)(`${header}.${other}.${signature}`)
    expect(verified).toMatchObject({ reason: 'id-token-signature-invalid' })
  })

  test.each(['', 'x', 'a.b.c', 'a.b.c.d.e', '{}', '..'])('when it is %j', async text => {
    await using provider = await startTestProvider()
    expect(await trusting(provider.issuer)(text)).toMatchObject({ isAccepted: false })
  })
})

describe('without the provider nobody is let in or turned away', () => {
  const unavailable = expect.objectContaining({ code: 'sign_in_unavailable' })

  test('when it cannot be reached, and again when it is back', async () => {
    await using provider = await startTestProvider()
    const verify = trusting(provider.issuer)
    provider.misbehave({ status: 503 })
    await expect(verify(await provider.idToken())).rejects.toThrow(unavailable)
    provider.misbehave({})
    expect(await verify(await provider.idToken())).toMatchObject({ isAccepted: true })
  })

  test('when it is not there at all', async () => {
    await using provider = await startTestProvider()
    const token = await provider.idToken()
    await provider.stop()
    await expect(trusting(provider.issuer)(token)).rejects.toThrow(unavailable)
  })

  test('when its metadata belongs to another issuer', async () => {
    await using provider = await startTestProvider()
    provider.misbehave({ metadata: { issuer: 'https://elsewhere.example' } })
    await expect(trusting(provider.issuer)(await provider.idToken())).rejects.toThrow(unavailable)
  })

  test('when its keys come without TLS and nobody allowed that', async () => {
    await using provider = await startTestProvider()
    const { issuer } = provider
    const strict = createIdTokenVerifier({ issuer, clientId, trustsPlainHttp: false })
    await expect(strict(await provider.idToken())).rejects.toThrow(unavailable)
  })

  test('when only its keys cannot be fetched', async () => {
    await using provider = await startTestProvider()
    provider.misbehave({ metadata: { jwks_uri: 'http://127.0.0.1:1/keys' } })
    await expect(trusting(provider.issuer)(await provider.idToken())).rejects.toThrow(unavailable)
  })
})
