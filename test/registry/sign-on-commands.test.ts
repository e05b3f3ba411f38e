/** Single sign-on from the command line. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCommand } from './cli.ts'
import { adminToken, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
})
afterAll(() => registry[Symbol.asyncDispose]())

const run = (...args: string[]) =>
  runCommand(args, { SALLYPORT_ADMIN_URL: registry.url, SALLYPORT_ADMIN_TOKEN: adminToken })

const settingsOf = async (name: string) =>
  (await registry.send('GET', `/applications/${name}/onPremisesPublishing`)).body
    .singleSignOnSettings

test('Kerberos takes a service principal name, and keeps the rest at its defaults', async () => {
  const words = ['publish', 'iwa=http://iwa.internal/', '--spn', 'HTTP/iwa.corp.example']
  const published = await run(...words, '--kerberos-identity', 'onPremisesSAMAccountName')
  expect(published).toMatchObject({ status: 0, stderr: '' })
  expect(published.stdout).toContain('sign-on          Kerberos as HTTP/iwa.corp.example')
  expect(await settingsOf('iwa')).toMatchObject({
    singleSignOnMode: 'onPremisesKerberos',
    kerberosSignOnSettings: {
      kerberosServicePrincipalName: 'HTTP/iwa.corp.example',
      kerberosSignOnMappingAttributeType: 'onPremisesSAMAccountName',
      kerberosTokenFormat: 'spnego',
      isMutualAuthenticationRequired: false,
    },
  })
})

test('publishing again without a word of it leaves it as it is; none takes it back', async () => {
  await run('publish', 'again=http://again.internal/', '--assertion')
  await run('publish', 'again=http://again.internal/', '--all-users')
  expect(await settingsOf('again')).toMatchObject({
    singleSignOnMode: 'signedAssertion',
    assertionSignOnSettings: { headerName: 'Sallyport-Assertion', algorithm: 'EdDSA' },
  })
  await run('publish', 'again=http://again.internal/', '--sign-on', 'none')
  expect(await settingsOf('again')).toMatchObject({
    singleSignOnMode: 'none',
    assertionSignOnSettings: null,
  })
})

test('headers are claims with steps in between, and an assertion may go along', async () => {
  const published = await run(
    ...['publish', 'legacy=http://legacy.internal/', '--assertion', 'X-Jwt'],
    ...['--sign-on-header', 'X-User=userPrincipalName|lower|stripDomain'],
    ...[
      '--sign-on-header',
      'X-Groups=groups|groupFilter:app-*,staff|regex:^app-(.*)$|join:;|base64',
    ],
  )
  expect(published.stderr).toBe('')
  expect(await settingsOf('legacy')).toMatchObject({
    singleSignOnMode: 'aadHeaderBased',
    headerSignOnSettings: {
      headers: [
        {
          name: 'X-User',
          claim: 'userPrincipalName',
          transforms: [{ type: 'lower' }, { type: 'stripDomain' }],
        },
        {
          name: 'X-Groups',
          claim: 'groups',
          transforms: [
            { type: 'groupFilter', groups: ['app-*', 'staff'] },
            { type: 'regex', pattern: '^app-(.*)$' },
            { type: 'join', separator: ';' },
            { type: 'base64' },
          ],
        },
      ],
    },
    assertionSignOnSettings: { headerName: 'X-Jwt' },
  })
  expect(published.stdout).toContain(
    'headers X-User (userPrincipalName), X-Groups (groups); assertion in X-Jwt',
  )
  const other = ['--sign-on-header', 'X-Department=department']
  expect((await run('publish', 'legacy=http://legacy.internal/', ...other)).stdout).toContain(
    'headers X-Department (department, if SALLYPORT_POLICY_CLAIMS has it)',
  )
})

test.each([
  ['--spn', ['--raw-kerberos']],
  ['rot13 is not known', ['--sign-on-header', 'X-User=sub|rot13']],
  ['--assertion', ['--assertion-audience', 'x']],
  ['--spn: must be a service and a host', ['--spn', 'intranet']],
  ['--sign-on-header: "Cookie" is reserved', ['--sign-on-header', 'Cookie=userPrincipalName']],
])('a call that cannot be meant names %s', async (named, words) => {
  const refused = await run('publish', 'wrong=http://wrong.internal/', ...words)
  expect(refused.status).not.toBe(0)
  expect(refused.stderr).toContain(named)
})
