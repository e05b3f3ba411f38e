/** Settings of single sign-on: Graph's load as they are, and what cannot work is refused before anybody relies on it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry
const path = '/applications/intranet/onPremisesPublishing'

beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'intranet')
})
afterAll(() => registry[Symbol.asyncDispose]())

const patch = (singleSignOnSettings: unknown) =>
  registry.send('PATCH', path, { singleSignOnSettings })

const problems = ({ body }: Answer): Record<string, string> =>
  Object.fromEntries(
    (body.errors ?? []).map((each: { property: string; message: string }) => [
      each.property.replace(/^(onPremisesPublishing\.)?singleSignOnSettings\./, ''),
      each.message,
    ]),
  )

const kerberos = { kerberosServicePrincipalName: 'HTTP/intranet.corp.example' }
const headers = (...names: string[]) => ({
  singleSignOnMode: 'aadHeaderBased',
  headerSignOnSettings: { headers: names.map(name => ({ name, claim: 'userPrincipalName' })) },
})

describe('settings of Graph', () => {
  test('for Kerberos load as they are exported', async () => {
    const exported = {
      '@odata.type': '#microsoft.graph.onPremisesPublishingSingleSignOn',
      singleSignOnMode: 'onPremisesKerberos',
      kerberosSignOnSettings: {
        '@odata.type': 'microsoft.graph.kerberosSignOnSettings',
        kerberosServicePrincipalName: 'HTTP/iwa.contoso.com',
        kerberosSignOnMappingAttributeType: 'onPremisesUserPrincipalName',
      },
    }
    expect(await patch(exported)).toMatchObject({ status: 204 })
    expect((await registry.send('GET', path)).body.singleSignOnSettings).toMatchObject({
      singleSignOnMode: 'onPremisesKerberos',
      kerberosSignOnSettings: {
        kerberosServicePrincipalName: 'HTTP/iwa.contoso.com',
        kerberosSignOnMappingAttributeType: 'onPremisesUserPrincipalName',
        kerberosTokenFormat: 'spnego',
      },
    })
  })

  test.each(['aadHeaderBased', 'headerBased'])('name headers as %s', async singleSignOnMode => {
    expect((await patch({ ...headers('X-Remote-User'), singleSignOnMode })).status).toBe(204)
    const { body } = await registry.send('GET', path)
    expect(body.singleSignOnSettings.singleSignOnMode).toBe('aadHeaderBased')
  })

  test('may be taken back', async () => {
    expect((await patch({ singleSignOnMode: 'none', kerberosSignOnSettings: null })).status).toBe(
      204,
    )
    expect((await patch(null)).status).toBe(204)
    expect((await registry.send('GET', path)).body.singleSignOnSettings).toBeNull()
  })
})

describe('what cannot work is refused by its name', () => {
  test.each([
    ['kerberosSignOnSettings', { singleSignOnMode: 'onPremisesKerberos' }],
    ['headerSignOnSettings', { singleSignOnMode: 'aadHeaderBased' }],
    ['assertionSignOnSettings', { singleSignOnMode: 'signedAssertion' }],
    ['kerberosSignOnSettings', { singleSignOnMode: 'none', kerberosSignOnSettings: kerberos }],
    ['kerberosSignOnSettings', { ...headers('X-User'), kerberosSignOnSettings: kerberos }],
    ['singleSignOnMode', { singleSignOnMode: 'pingHeaderBased' }],
    ['samlSingleSignOnSettings', { singleSignOnMode: 'none', samlSingleSignOnSettings: {} }],
    [
      'kerberosSignOnSettings.kerberosServicePrincipalName',
      {
        singleSignOnMode: 'onPremisesKerberos',
        kerberosSignOnSettings: { kerberosServicePrincipalName: 'HTTP/a@OTHER.REALM' },
      },
    ],
    [
      'headerSignOnSettings.headers.0.transforms.0.pattern',
      {
        singleSignOnMode: 'aadHeaderBased',
        headerSignOnSettings: {
          headers: [{ name: 'X-A', claim: 'a', transforms: [{ type: 'regex', pattern: '(' }] }],
        },
      },
    ],
    [
      'headerSignOnSettings.headers.0.transforms.0.type',
      {
        singleSignOnMode: 'aadHeaderBased',
        headerSignOnSettings: {
          headers: [{ name: 'X-A', claim: 'a', transforms: [{ type: 'rot13' }] }],
        },
      },
    ],
  ])('%s', async (property, settings) => {
    const answer = await patch(settings)
    expect(answer.status).toBe(400)
    expect(Object.keys(problems(answer))).toContain(property)
  })

  test.each([
    ...['Host', 'Cookie', 'Authorization', 'Connection', 'Content-Length', 'Transfer_Encoding'],
    ...['X-Forwarded-For', 'x_forwarded_proto', 'Sallyport-User', 'X-Sallyport-User', 'Forwarded'],
    ...['X-Real-IP', 'Via', 'Trailer', 'X-Request-Id'],
  ])('a header %s that is reserved', async name => {
    const answer = await patch(headers(name))
    expect(answer.status).toBe(400)
    expect(problems(answer)['headerSignOnSettings.headers.0.name']).toContain('is reserved')
  })

  test('two names that some programs take for one', async () => {
    const answer = await patch(headers('X-Remote-User', 'x_remote_user'))
    expect(problems(answer)['headerSignOnSettings.headers.1.name']).toContain('twice')
  })

  test.each([
    ['passthru', { externalAuthenticationType: 'passthru' }],
    ['http2', { originHttpVersion: 'http2' }],
  ])('Kerberos with %s', async (word, others) => {
    const singleSignOnSettings = {
      singleSignOnMode: 'onPremisesKerberos',
      kerberosSignOnSettings: kerberos,
    }
    const answer = await registry.send('PATCH', path, { ...others, singleSignOnSettings })
    expect(answer.status).toBe(400)
    expect(problems(answer).singleSignOnMode).toContain(word)
  })
})

test.each(['SM_USER', 'X-Forwarded-User', 'X-Remote-User', 'Sallyport-Assertion'])(
  'a header %s that applications expect can be set',
  async name => {
    expect((await patch(headers(name))).status).toBe(204)
  },
)
