import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { runCommand } from './cli.ts'
import { adminToken, groupsPath, startTestRegistry, type TestRegistry } from './fixture.ts'
import { sampleStatus } from './sample-status.ts'

let registry: TestRegistry
let directory: string

beforeAll(async () => {
  registry = await startTestRegistry()
  directory = await mkdtemp(join(tmpdir(), 'sallyport-cli-'))
})
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await rm(directory, { recursive: true, force: true })
})

async function portWithoutListener(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const run = (...args: string[]) =>
  runCommand(args, { SALLYPORT_ADMIN_URL: registry.url, SALLYPORT_ADMIN_TOKEN: adminToken })

describe('publishing', () => {
  test('publish, look, unpublish', async () => {
    const published = await run('publish', 'wiki=http://127.0.0.1:3000', '--all-users')
    expect(published).toMatchObject({ status: 0, stderr: '' })
    expect(published.stdout).toContain('http://wiki.sallyport.localhost:8080/')
    expect(published.stdout).toContain('all signed-in users')
    const listed = await run('applications')
    expect(listed.stdout.split('\n')[0]).toMatch(
      /^ID +NAME +EXTERNAL URL +INTERNAL URL +GROUP +FOR$/,
    )
    expect(listed.stdout).toMatch(/^wiki +wiki +http:\/\/wiki\.sallyport\.localhost:8080\/ /m)
    const [shown] = JSON.parse((await run('applications', '--json')).stdout)
    expect(shown).toMatchObject({ id: 'wiki', appRoleAssignmentRequired: false })
    expect(await run('unpublish', 'wiki')).toMatchObject({ status: 0 })
    expect((await run('applications')).stdout).toBe('Nothing is published yet.\n')
  })

  test('an application is for nobody until somebody is assigned, and says so', async () => {
    const published = await run('publish', 'Our Docs=http://docs.internal/')
    expect(published.stdout).toContain('our-docs (Our Docs) is published')
    expect(published.stdout).toContain('nobody yet: sallyport assign our-docs --user UPN')
    await run('assign', 'our-docs', '--user', 'anna@example.com')
    await run('assign', 'our-docs', '--group', 'Staff')
    const again = await run('assign', 'our-docs', '--user', 'ANNA@example.com')
    expect(again).toMatchObject({ status: 0, stdout: expect.stringContaining('may already use') })
    expect((await run('show', 'our-docs')).stdout).toMatch(/for +.*anna@example\.com/)
    expect(await run('unassign', 'our-docs', '--group', 'Staff')).toMatchObject({ status: 0 })
    const shown = JSON.parse((await run('show', 'our-docs', '--json')).stdout)
    expect(shown.appRoleAssignedTo).toMatchObject([{ principalId: 'anna@example.com' }])
    expect(await run('unassign', 'our-docs', '--group', 'Staff')).toMatchObject({
      status: 1,
      stderr: 'sallyport: group Staff is not assigned to our-docs\n',
    })
  })

  test('who publishes what is there already sees what it was', async () => {
    const first = await run('publish', 'news=http://old.internal/')
    expect(first.stdout).not.toContain('already')
    const again = await run('publish', 'news=http://new.internal/')
    expect(again.stdout.split('\n')[0]).toBe(
      'news was published already, for http://old.internal/, and is changed.',
    )
    expect(again.stdout).toContain('http://new.internal/')
  })

  test('what was done to what is told to programs too', async () => {
    await run('publish', 'passing=http://passing.internal/')
    const told = async (...words: string[]) => JSON.parse((await run(...words, '--json')).stdout)
    const staff = { resourceId: 'passing', principalType: 'Group', principalId: 'Staff' }
    expect(await told('assign', 'passing', '--group', 'Staff')).toEqual(staff)
    expect(await told('assign', 'passing', '--group', 'Staff')).toEqual(staff)
    expect(await told('unassign', 'passing', '--group', 'Staff')).toEqual(staff)
    expect(await told('unpublish', 'passing')).toEqual({ id: 'passing' })
    await run('create-group', 'brief')
    expect(await told('delete-group', 'brief')).toEqual({ id: 'brief' })
    const revoked = await told('revoke', 'anna@example.com')
    expect(revoked).toEqual({ userPrincipalName: 'anna@example.com' })
  })

  test('a name that only makes the same id is no other application of that id', async () => {
    await run('publish', 'Tool C=http://c.internal/', '--all-users')
    const other = await run('publish', 'Tool C++=http://cpp.internal/')
    expect(other).toMatchObject({ status: 1, stdout: '' })
    expect(other.stderr).toContain('"Tool C++" has the id of "Tool C", which is tool-c')
    const same = await run('publish', 'tool c=http://moved.internal/')
    expect(same).toMatchObject({ status: 0, stderr: '' })
    expect((await run('show', 'tool-c')).stdout).toContain('http://moved.internal/')
    expect(await run('unpublish', 'tool-c')).toMatchObject({ status: 0 })
  })

  test('everything at once, and a second publish changes only what it names', async () => {
    await run('create-group', 'paris')
    const first = await run(
      'publish',
      'shop=http://shop.internal/',
      ...['--group', 'paris', '--passthrough', '--external-url', 'https://shop.example.com/'],
      ...['--assign-user', 'anna@example.com', '--assign-user', 'bob@example.com'],
      ...['--assign-group', 'Sales', '--http2', '--json'],
    )
    expect(first.stderr).toBe('')
    expect(JSON.parse(first.stdout)).toMatchObject({
      connectorGroupId: 'paris',
      onPremisesPublishing: {
        externalUrl: 'https://shop.example.com/',
        externalAuthenticationType: 'passthru',
        originHttpVersion: 'http2',
      },
    })
    const second = await run('publish', 'shop=http://moved.internal/', '--json')
    expect(JSON.parse(second.stdout)).toMatchObject({
      connectorGroupId: 'paris',
      onPremisesPublishing: {
        internalUrl: 'http://moved.internal/',
        externalUrl: 'https://shop.example.com/',
        externalAuthenticationType: 'passthru',
        originHttpVersion: 'http2',
      },
    })
    const assigned = await registry.send('GET', '/servicePrincipals/shop/appRoleAssignedTo')
    expect(assigned.body.value).toHaveLength(3)
    expect((await run('show', 'shop')).stdout).toMatch(
      /for +everybody, without signing in; after --no-passthrough for .*group Sales/,
    )
    const closed = await run('publish', 'shop=http://moved.internal/', '--no-passthrough')
    expect(closed.stdout).toMatch(/for +((anna|bob)@example\.com, )*group Sales/)
    const signedIn = await run('publish', 'shop=http://moved.internal/', '--all-users')
    expect(signedIn.stdout).toContain('all signed-in users')
    expect(signedIn.stdout).toContain('speaks           HTTP/2')
    const back = ['--no-all-users', '--no-http2', '--timeout', 'long', '--idle-timeout', '600']
    const taken = await run('publish', 'shop=http://moved.internal/', ...back)
    expect(taken.stdout).toMatch(/for +((anna|bob)@example\.com, )*group Sales/)
    expect(taken.stdout).not.toContain('HTTP/2')
    expect(taken.stdout).toContain('time-outs        long, idle 600 s')
    const path = '/applications/shop/onPremisesPublishing'
    await registry.send('PATCH', path, { allowedHttpMethods: ['GET', 'HEAD'] })
    expect((await run('show', 'shop')).stdout).toContain('methods          GET, HEAD')
  })

  test('an application that is not published yet is listed as such, and publish publishes it', async () => {
    const created = await registry.send('POST', '/applications', { displayName: 'Draft' })
    expect(created.status).toBe(201)
    expect((await run('applications')).stdout).toMatch(/^draft +Draft +not published +- +default /m)
    expect((await run('show', 'draft')).stdout).toContain(
      'draft (Draft) is not published: sallyport publish draft=URL',
    )
    const published = await run('publish', 'draft=http://draft.internal/')
    expect(published.stdout).toContain(
      'draft (Draft) is published at http://draft.sallyport.localhost:8080/',
    )
  })

  test('what the system refuses ends with status 1 and its reason', async () => {
    const unknownGroup = await run('publish', 'x=http://x.internal/', '--group', 'nowhere')
    expect(unknownGroup).toMatchObject({ status: 1, stdout: '' })
    expect(unknownGroup.stderr).toBe('sallyport: --group: there is no connector group "nowhere"\n')
    const two = ['--idle-timeout', '0', '--external-url', 'x']
    expect((await run('publish', 'x=http://x.internal/', ...two)).stderr).toBe(
      'sallyport: refused:\n' +
        '  --external-url: must be an http:// or https:// URL\n' +
        '  --idle-timeout: must be a whole number of seconds from 1 to 86400, or default\n',
    )
    const noUrl = await run('publish', 'x=http://x.internal:99999/')
    expect(noUrl.stderr).toBe('sallyport: <name=url>: must be an http:// or https:// URL\n')
    const same = ['--group', 'paris', '--standby-group', 'paris']
    expect((await run('publish', 'x=http://x.internal/', ...same)).stderr).toBe(
      'sallyport: --standby-group: must be another group than --group\n',
    )
    const pinned = await run('publish', 'x=https://x.internal/', '--origin-pin', 'x')
    expect(pinned.stderr).toMatch(/^sallyport: --origin-pin: must be the SHA-256/)
    const open = ['--passthrough', '--assertion']
    expect((await run('publish', 'x=http://x.internal/', ...open)).stderr).toBe(
      'sallyport: --sign-on: needs users who are signed in; it is published with --passthrough\n',
    )
    const unknown = await run('show', 'nothing')
    expect(unknown).toMatchObject({ status: 1 })
    expect(unknown.stderr).toContain('there is no application "nothing"')
  })
})

describe('groups and connectors', () => {
  test('are created, listed and deleted', async () => {
    expect((await run('create-group', 'Left Bank')).stdout).toContain(
      'sallyport connector-token --group left-bank',
    )
    expect((await run('groups')).stdout).toMatch(/^left-bank +Left Bank /m)
    const bus = await registry.nats.connect('connector')
    const status = sampleStatus({ connectorId: 'seine-1', groupId: 'left-bank', state: 'draining' })
    bus.publishJson(subjects.connectorStatus('left-bank', 'seine-1'), status)
    const members = async () =>
      (await registry.send('GET', `${groupsPath}/left-bank/members`)).body.value.length
    await expect.poll(members).toBe(1)
    const listed = await run('connectors')
    expect(listed.stdout).toMatch(
      /^seine-1 +left-bank +active, draining +3\/128 +- +0\.1\.0 +machine\.internal +\d+ s ago$/m,
    )
    const refused = await run('delete-group', 'left-bank')
    expect(refused).toMatchObject({ status: 1, stderr: expect.stringContaining('seine-1') })
    expect(await run('delete-group', 'nowhere')).toMatchObject({ status: 1 })
  })
})

test('names that could steer a terminal are printed harmlessly', async () => {
  const displayName = 'evil\u001b[2J\u202ename'
  await registry.send('POST', '/applications', {
    id: 'evil',
    displayName,
    onPremisesPublishing: { internalUrl: 'http://evil.internal/' },
  })
  const { stdout } = await run('applications')
  expect(stdout).not.toContain('\u001b')
  expect(stdout).not.toContain('\u202e')
  expect(stdout).toContain('evil\\u{1b}[2J')
})

describe('wrong calls end with status 2 and say what to do', () => {
  test.each([
    [['publish', 'wiki'], 'NAME=URL'],
    [['publish', 'wiki=127.0.0.1:3000'], 'must begin with http:// or https://'],
    [['publish', '!!!=http://x/'], 'no Latin letter or digit'],
    [['publish'], 'missing required argument'],
    [
      ['publish', 'half=http://x/', '--assign-user', ''],
      '--assign-user must be a name of 1 to 256',
    ],
    [['applications', '--colour'], "unknown option '--colour'"],
    [['assign', 'wiki'], '--user UPN or --group NAME'],
    [['assign', 'wiki', '--user', 'a', '--group', 'b'], 'cannot be used with'],
    [['applications', '--admin-url', 'ftp://x'], 'must be an http:// or https:// URL'],
    [['applications', '--admin-token-file', '/nowhere/token'], 'cannot be read (ENOENT)'],
    [['tail', 'access.wiki.denied.more'], 'category.application.verdict'],
    [['tail', '--verdict', 'deneid'], 'there is no verdict "deneid": choose granted, denied, '],
    [
      ['tail', 'access.wiki.succeeded'],
      'no verdict "succeeded" of category access: choose granted, ',
    ],
    [['tail', '--category', 'acces'], 'there is no category "acces"'],
    [['tail', 'access', '--category', 'admin'], 'leave --category out'],
  ])('%j', async (args, message) => {
    const { status, stdout, stderr } = await run(...args)
    expect(stderr).toContain(message)
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(await registry.send('GET', '/applications/half')).toMatchObject({ status: 404 })
  })
})

describe('finding the system', () => {
  test('a secret on the command line is refused and not repeated', async () => {
    for (const args of [
      ['applications', '--admin-token', 'hunter2secret'],
      ['applications', '--admin-url', 'http://admin:hunter2secret@127.0.0.1:1/'],
      ['tail', '--bus-url', 'nats://auditor:hunter2secret@127.0.0.1:1'],
    ]) {
      const { status, stdout, stderr } = await run(...args)
      expect(status, args.join(' ')).toBe(2)
      expect(stdout + stderr).not.toContain('hunter2secret')
    }
  })

  test('the token may stand in a file', async () => {
    const file = join(directory, 'token')
    await writeFile(file, `${adminToken}\n`)
    const result = await runCommand([
      'groups',
      '--admin-url',
      registry.url,
      '--admin-token-file',
      file,
    ])
    expect(result).toMatchObject({ status: 0, stderr: '' })
  })

  test.each([
    [['create-group', ''], 2, '<name> must not be empty'],
    [['unpublish', '..'], 2, '".." is not a name that anything has here'],
    [['create-group', 'x'.repeat(257)], 1, 'name: must have at most 256 characters'],
  ])('%j is refused in plain words', async (words, status, reason) => {
    const refused = await run(...words)
    expect(refused).toMatchObject({ status, stdout: '', stderr: expect.stringContaining(reason) })
    expect(refused.stderr).not.toMatch(/Invalid|Too (small|big)|>=|<=|expected/)
  })

  test.each([
    ['[', ']', ''],
    ['{"value":[', ']}', ': value.0.value'],
    ['{"policies":[{"conditions":', '}]}', ': policies.0.conditions'],
  ])('a file nested without end in %s is refused with the limit', async (open, close, where) => {
    const file = join(directory, 'deep.json')
    await writeFile(file, `${open.repeat(10_000)}1${close.repeat(10_000)}`)
    expect(await run('policy', 'import', file)).toEqual({
      status: 2,
      stdout: '',
      stderr: `sallyport: ${file}${where} is nested too deeply: 64 levels at most\n`,
    })
  })

  test('nothing there, no token, or a wrong one: each is said plainly', async () => {
    const port = await portWithoutListener()
    const nothing = await runCommand(['groups', '--admin-url', `http://127.0.0.1:${port}`], {
      SALLYPORT_ADMIN_TOKEN: adminToken,
    })
    expect(nothing.status).toBe(1)
    expect(nothing.stderr).toBe(
      `sallyport: no system answers at http://127.0.0.1:${port} (ECONNREFUSED): is it running? set SALLYPORT_ADMIN_URL\n`,
    )
    const without = await runCommand(['groups'], { SALLYPORT_ADMIN_URL: registry.url })
    expect(without).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('SALLYPORT_ADMIN_TOKEN'),
    })
    const wrong = await runCommand(['groups'], {
      SALLYPORT_ADMIN_URL: registry.url,
      SALLYPORT_ADMIN_TOKEN: 'wrong',
    })
    expect(wrong).toMatchObject({ status: 1, stderr: expect.stringContaining('token is wrong') })
  })
})
