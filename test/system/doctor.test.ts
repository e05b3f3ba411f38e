/** `sallyport doctor`: where the way to an application ends, named with what to do, in a whole system. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { administer, changeConnector, createGroup, moveToGroup } from '../harness/admin.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { runProgram } from '../harness/programs.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'

/** Nothing listens there. */
const downUrl = 'http://127.0.0.1:9/'

let origin: Origin
let system: TestSystem

beforeAll(async () => {
  origin = await startOrigin()
  system = await startSystem({
    connectors: 2,
    publish: [
      signedInApplication('wiki', origin.url),
      signedInApplication('typo', 'http://no-such-host.invalid/'),
      signedInApplication('lonely', origin.url),
      signedInApplication('intranet', origin.url),
      { name: 'open', displayName: 'Open', internalUrl: downUrl, access: 'passthrough' },
    ],
  })
  await administer(system, 'PATCH', '/applications/typo', { appRoleAssignmentRequired: true })
  await createGroup(system, 'empty')
  await moveToGroup(system, 'lonely', 'empty')
  await administer(system, 'PATCH', '/applications/intranet/onPremisesPublishing', {
    singleSignOnSettings: {
      singleSignOnMode: 'onPremisesKerberos',
      kerberosSignOnSettings: { kerberosServicePrincipalName: 'HTTP/intranet.example' },
    },
  })
})
afterAll(async () => {
  await system[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

const doctor = (...words: string[]) =>
  runProgram(process.execPath, ['sallyport.ts', 'doctor', ...words], {
    environment: {
      SALLYPORT_ADMIN_URL: system.admin.url,
      SALLYPORT_ADMIN_TOKEN: system.admin.token,
    },
  })

test('a way that leads to its end is shown hop by hop, through every connector', async () => {
  const { code, output } = await doctor('wiki', '--user', 'alice@sallyport.example')
  expect(output).toMatch(/ok +name +wiki\.sallyport\.localhost is this machine/)
  expect(output).toMatch(/ok +gateway +it is ready/)
  expect(output).toMatch(/ok +sign-in +wiki\.sallyport\.localhost:\d+ leads to portal\./)
  expect(output).toMatch(/ok +policy +grant for alice@sallyport\.example/)
  for (const id of ['connector-1', 'connector-2']) expect(output).toContain(`connector ${id}`)
  expect(output.match(/ok +origin connection +TCP to 127\.0\.0\.1/g)).toHaveLength(2)
  expect(output.match(/- +sign-on +none is set/g)).toHaveLength(2)
  expect(output).toContain('Requests get through.')
  expect(code).toBe(0)
})

test.each([
  ['typo', /FAILED +origin name +no-such-host\.invalid cannot be resolved/, /internal URL/],
  [
    'lonely',
    /FAILED +bus +the connector group empty has no connector/,
    /Enrol a connector .*connector-token --group empty/,
  ],
  ['intranet', /FAILED +sign-on +not_configured/, /SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH/],
])('of %s the hop that fails is named, with what to do', async (name, hop, fix) => {
  const { code, output } = await doctor(name)
  expect(output).toMatch(hop)
  expect(output).toMatch(fix)
  expect(output).toContain('Requests do not get through')
  expect(code).toBe(1)
})

test('the standby group is looked at too, and said to serve where the own group does not', async () => {
  const all = { connectorGroupId: 'empty', standbyConnectorGroupId: 'default' }
  await administer(system, 'PATCH', '/applications/lonely', all)
  const served = await doctor('lonely')
  expect(served.output).toMatch(/- +bus +the connector group empty has no connector/)
  expect(served.output).toMatch(/ok +bus +2 connectors in the standby group default/)
  expect(served.output).toContain('connector connector-1 of the standby group default\n')
  expect(served.output).toContain('Requests get through, by the standby group default.')
  expect(served.code).toBe(0)
  const turned = { connectorGroupId: 'default', standbyConnectorGroupId: 'empty' }
  await administer(system, 'PATCH', '/applications/lonely', turned)
  const own = await doctor('lonely')
  expect(own.output).toMatch(/- +bus +the standby group empty has no connector/)
  expect(own.output).toContain('Requests get through.\n')
  await administer(system, 'PATCH', '/applications/lonely', {
    connectorGroupId: 'empty',
    standbyConnectorGroupId: null,
  })
})

test('asked of a gateway in place of the registry, it says so', async () => {
  const [gateway = ''] = system.gatewayUrls
  const { code, errors } = await doctor('wiki', '--admin-url', gateway)
  expect([code, errors]).toEqual([
    1,
    expect.stringContaining(`a gateway answers at ${gateway}, and no registry`),
  ])
})

test('who is assigned is looked at before it is said that requests get through', async () => {
  const asAlice = ['typo', '--user', 'alice@sallyport.example']
  expect((await doctor(...asAlice)).output).toMatch(
    /FAILED +policy +neither alice@sallyport\.example nor any group is assigned to typo\n +sallyport assign typo --user alice/,
  )
  const assigned = { principalType: 'Group', principalId: 'warehouse' }
  await administer(system, 'POST', '/servicePrincipals/typo/appRoleAssignedTo', assigned)
  expect((await doctor(...asAlice)).output).toMatch(
    /ok +policy +grant for alice@sallyport\.example: .*; only for members of warehouse/,
  )
})

test('a policy that blocks ends the way of a user who is assigned by a group, too', async () => {
  const policies = '/identity/conditionalAccess/policies'
  await administer(system, 'POST', policies, {
    id: 'closed',
    displayName: 'Closed',
    state: 'enabled',
    conditions: {
      users: { includeUsers: ['All'] },
      applications: { includeApplications: ['typo'] },
    },
    grantControls: { operator: 'OR', builtInControls: ['block'] },
  })
  const asAlice = ['typo', '--user', 'alice@sallyport.example']
  await expect
    .poll(async () => (await doctor(...asAlice)).output)
    .toMatch(/FAILED +policy +block for alice.*policy-blocks\n.*what-if .*--group 'warehouse'/)
  await administer(system, 'DELETE', `${policies}/closed`)
})

test('of an application without sign-in that is down, signing in is not what fails', async () => {
  const { output } = await doctor('open')
  expect(output).toMatch(/- +sign-in +the application lets everybody in/)
  expect(output).toContain('Requests do not get through: origin connection')
})

test('an application that is down fails at every connector, until it is back', async () => {
  await origin.close()
  const { code, output } = await doctor('wiki', '--json')
  const { connectors } = JSON.parse(output)
  expect(connectors).toHaveLength(2)
  for (const { hops } of connectors)
    expect(hops.at(-1)).toMatchObject({ hop: 'origin connection', outcome: 'failed' })
  expect(code).toBe(1)
  await origin.reopen()
  expect((await doctor('wiki')).code).toBe(0)
})

test('a connector that an administrator has disabled is not looked for at its host', async () => {
  await changeConnector(system, 'connector-2', { isEnabled: false })
  expect((await doctor('wiki')).output).toMatch(
    /connector connector-2\n +FAILED +connector +it is disabled\n +sallyport enable-connector connector-2/,
  )
  await changeConnector(system, 'connector-2', { isEnabled: true })
  await expect
    .poll(async () => (await doctor('wiki')).output, { timeout: 40_000 })
    .toMatch(/connector connector-2\n +ok/)
})

test('a connector that is gone is named, and does not stop what others carry', async () => {
  const [first] = system.services.of('connector')
  if (!first) throw new Error('no connector')
  await system.kill(first)
  await expect
    .poll(async () => (await doctor('wiki')).output, { timeout: 30_000 })
    .toMatch(/connector connector-1\n +FAILED +connector +it is not connected/)
  expect((await doctor('wiki')).output).toContain('Requests get through.')
})
