/** `sallyport up` as a process of its own: what it prints, what it refuses, how it stops, what it leaves behind. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, get } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { startIdentityProvider } from '#infra/embedded/identity-provider.ts'
import { givenAway } from '../harness/given-away.ts'
import { descendantsOf, stillRunning } from '../harness/processes.ts'

/** What scripts are promised. */
const Announcement = z.strictObject({
  pid: z.int(),
  portal: z.url(),
  identityProvider: z.url(),
  users: z.array(
    z.strictObject({ name: z.string(), password: z.string(), groups: z.array(z.string()) }),
  ),
  applications: z.array(
    z.strictObject({
      name: z.string(),
      externalUrl: z.url(),
      internalUrl: z.url(),
      connectorGroup: z.string(),
    }),
  ),
  bus: z.url(),
  busCa: z.string(),
  admin: z.url(),
  adminToken: z.string(),
  gateways: z.array(z.url()),
})
type Announcement = z.output<typeof Announcement>

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-up-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Starts the command, and ends it with the test if it still runs. */
function sallyport(...words: string[]) {
  const child = spawn(process.execPath, ['sallyport.ts', ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  // Not `exit`: what it has written must have been read.
  const closed = once(child, 'close')
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  })
  return Object.assign(child, { closed })
}

const up = (data: string, ...words: string[]) =>
  sallyport('up', '--json', '--port', '0', '--data', data, ...words)

async function announced(child: ReturnType<typeof sallyport>): Promise<Announcement> {
  const errors: string[] = []
  child.stderr.on('data', chunk => errors.push(String(chunk)))
  const output = Promise.withResolvers<string>()
  let received = ''
  child.stdout.on('data', chunk => {
    received += chunk
    if (received.includes('\n')) output.resolve(received)
  })
  child.once('exit', code => output.reject(new Error(`ended with ${code}: ${errors.join('')}`)))
  return Announcement.parse(JSON.parse(await output.promise))
}

async function refused(
  child: ReturnType<typeof sallyport>,
): Promise<{ code: number; said: string }> {
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  return { code, said }
}

/** What `up` says before it refuses to start. */
async function refusedWith(environment: Record<string, string>, ...words: string[]) {
  const child = spawn(process.execPath, ['sallyport.ts', 'up', '--port', '0', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
  })
  const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  expect(code).toBe(78)
  return said
}

/** The status of an external URL, asked of a gateway. Node does not resolve names below localhost. */
async function statusOf(externalUrl: string, gateway: string): Promise<number | undefined> {
  const { host } = new URL(externalUrl)
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>()
  get(gateway, { headers: { host }, agent: false }, response => {
    response.resume()
    resolve(response.statusCode)
  }).on('error', reject)
  return promise
}

/** Where a browser that opens the external URL is sent. */
async function redirectOf(externalUrl: string, gateway: string): Promise<string | undefined> {
  const { host } = new URL(externalUrl)
  const headers = { host, accept: 'text/html', 'sec-fetch-mode': 'navigate' }
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>()
  get(gateway, { headers, agent: false }, response => {
    response.resume()
    resolve(response.headers.location)
  }).on('error', reject)
  return promise
}

/** An origin that answers when it is told to. */
async function startSlowOrigin() {
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const server = createServer(async (_, response) => {
    asked.resolve()
    await answer.promise
    response.end('at last')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, asked: asked.promise, answer: answer.resolve }
}

async function ended(child: ReturnType<typeof sallyport>): Promise<number | null> {
  const [code] = await child.closed
  return code
}

async function startOrigin(): Promise<string> {
  const server = createServer((_, response) => response.end('a wiki')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('sallyport up', { timeout: 90_000 }, () => {
  it('announces itself in one line, and publishes what it was told', async () => {
    const data = await temporaryFolder()
    const origin = await startOrigin()
    const child = up(data, '--publish', `wiki=${origin}`, '--publish', `open=${origin},passthrough`)
    let log = ''
    child.stderr.on('data', chunk => {
      log += chunk
    })
    const system = await announced(child)
    // Nothing that is only for information: not even that its connector is enrolled.
    expect(log).not.toMatch(/"level":30/)
    expect(system.pid).toBe(child.pid)
    expect(system.portal).toMatch(/^http:\/\/portal\.sallyport\.localhost:\d+\/$/)
    const { port } = new URL(system.portal)
    expect(system.applications.map(({ name }) => name).toSorted()).toEqual([
      'handbook',
      'inventory',
      'open',
      'wiki',
    ])
    expect(system.applications.find(({ name }) => name === 'wiki')).toEqual({
      name: 'wiki',
      externalUrl: `http://wiki.sallyport.localhost:${port}/`,
      internalUrl: `${origin}/`,
      connectorGroup: 'default',
    })
    expect(new Set(system.users.map(({ groups }) => groups.join())).size).toBeGreaterThan(1)
    const [gateway = ''] = system.gateways
    expect(await statusOf(`http://open.sallyport.localhost:${port}/`, gateway)).toBe(200)
  })

  it('stops in order at SIGTERM, and lets a request that is under way finish', async () => {
    const origin = await startSlowOrigin()
    const data = await temporaryFolder()
    const publish = ['--publish', `slow=${origin.url},passthrough`]
    const child = up(data, '--log-level', 'info', ...publish)
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
    })
    const { pid, portal, gateways } = await announced(child)
    const children = (await descendantsOf(pid)).map(one => one.pid)
    const url = `http://slow.sallyport.localhost:${new URL(portal).port}/`
    const answered = statusOf(url, gateways[0] as string)
    await origin.asked
    child.kill('SIGTERM')
    await expect.poll(() => said).toContain('stopping')
    origin.answer()
    expect(await answered).toBe(200)
    expect(await ended(child)).toBe(0)
    const stopped = said.match(/[\w-]+: stopped/g)
    expect(stopped).toEqual([
      'gateway-1: stopped',
      'connector-1: stopped',
      'policy-1: stopped',
      'registry-1: stopped',
      'nats-server: stopped',
    ])
    await expect.poll(() => stillRunning(children)).toEqual([])
  })

  it('ends at once at the second Ctrl-C, but not at the same one seen twice', async () => {
    const origin = await startSlowOrigin()
    const publish = ['--publish', `slow=${origin.url},passthrough`]
    const child = up(await temporaryFolder(), '--log-level', 'info', ...publish)
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
    })
    const { pid, portal, gateways } = await announced(child)
    const children = (await descendantsOf(pid)).map(one => one.pid)
    const url = `http://slow.sallyport.localhost:${new URL(portal).port}/`
    statusOf(url, gateways[0] as string).catch(() => undefined)
    await origin.asked
    const firstMs = performance.now()
    child.kill('SIGINT')
    child.kill('SIGINT')
    await expect.poll(() => said).toContain('stopping')
    await expect.poll(() => performance.now() - firstMs, { timeout: 2_000 }).toBeGreaterThan(600)
    expect(child.exitCode).toBeNull()
    child.kill('SIGINT')
    expect(await ended(child)).toBe(130)
    await expect.poll(() => stillRunning(children), { timeout: 10_000 }).toEqual([])
  })

  it('uses the identity provider that it is told, and starts none', async () => {
    const folder = await temporaryFolder()
    const secretFile = join(folder, 'secret')
    await writeFile(secretFile, 'a secret of the provider')
    const provider = await startIdentityProvider({
      storeDirectory: folder,
      clients: [
        {
          id: 'known-there',
          secret: 'a secret of the provider',
          redirectUris: ['http://portal.sallyport.localhost/.sallyport/callback'],
          postLogoutRedirectUris: [],
        },
      ],
    })
    onTestFinished(() => provider[Symbol.asyncDispose]())
    const words = ['--identity-provider', provider.issuer, '--client-id', 'known-there']
    const child = up(join(folder, 'data'), ...words, '--client-secret-file', secretFile)
    const { identityProvider, users, portal, gateways } = await announced(child)
    expect(identityProvider).toBe(provider.issuer)
    expect(users).toEqual([])
    const location = await redirectOf(portal, gateways[0] as string)
    expect(location).toContain(provider.issuer)
    expect(location).toContain('client_id=known-there')
    expect(location).not.toContain('secret')
  })

  it('leaves no process behind when it is killed', async () => {
    const child = up(await temporaryFolder())
    const { pid } = await announced(child)
    const children = (await descendantsOf(pid)).map(one => one.pid)
    expect(children.length).toBeGreaterThanOrEqual(5)
    child.kill('SIGKILL')
    await expect.poll(() => stillRunning(children), { timeout: 15_000 }).toEqual([])
  })

  it('leaves no process behind when it is stopped while it starts', async () => {
    const child = up(await temporaryFolder())
    const pid = child.pid as number
    const services = async () =>
      (await descendantsOf(pid)).filter(({ command }) => command.includes('sallyport.ts'))
    await expect.poll(async () => (await services()).length, { timeout: 30_000 }).toBeGreaterThan(0)
    const children = (await descendantsOf(pid)).map(one => one.pid)
    child.kill('SIGINT')
    expect(await ended(child)).toBe(0)
    await expect.poll(() => stillRunning(children), { timeout: 15_000 }).toEqual([])
  })

  it('starts a service again that ended by itself, and says so', async () => {
    const child = up(await temporaryFolder())
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
    })
    const { pid, portal, gateways } = await announced(child)
    const gatewayPid = async () =>
      (await descendantsOf(pid)).find(({ command }) => command.endsWith('sallyport.ts gateway'))
        ?.pid
    const before = await gatewayPid()
    process.kill(before as number, 'SIGKILL')
    await expect.poll(() => said, { timeout: 20_000 }).toContain('gateway-1: running again')
    expect(said).toContain('gateway-1: it ended unexpectedly (SIGKILL)')
    expect(await gatewayPid()).not.toBe(before)
    expect(await statusOf(portal, gateways[0] as string)).toBeLessThan(500)
  })

  it.skipIf(process.platform !== 'linux')(
    'listens where nobody else is given a port by chance while a part of it starts again',
    async () => {
      const system = await announced(up(await temporaryFolder(), '--gateways', '2'))
      const { portal, gateways, admin, bus, identityProvider } = system
      const urls = [portal, ...gateways, admin, bus, identityProvider]
      expect(await givenAway(urls.map(url => Number(new URL(url).port)))).toEqual([])
    },
  )

  it('keeps applications, users’ provider and admin token over runs, and follows its port', async () => {
    const data = await temporaryFolder()
    const origin = await startOrigin()
    const first = up(data, '--publish', `wiki=${origin}`)
    const before = await announced(first)
    first.kill('SIGTERM')
    expect(await ended(first)).toBe(0)
    const after = await announced(up(data))
    expect(after.adminToken).toBe(before.adminToken)
    expect(after.admin).toBe(before.admin)
    expect(after.identityProvider).toBe(before.identityProvider)
    const { port } = new URL(after.portal)
    expect(after.applications.find(({ name }) => name === 'wiki')).toEqual({
      name: 'wiki',
      externalUrl: `http://wiki.sallyport.localhost:${port}/`,
      internalUrl: `${origin}/`,
      connectorGroup: 'default',
    })
  })

  it('refuses a data folder that a running system uses', async () => {
    const data = await temporaryFolder()
    await announced(up(data))
    const { code, said } = await refused(up(data))
    expect(code).toBe(78)
    expect(said).toMatch(/--data: .* is in use by a running system/)
  })

  it('starts as many gateways and connectors as it is told', async () => {
    const child = up(await temporaryFolder(), '--gateways', '2', '--connectors', '3')
    const { pid, portal, gateways } = await announced(child)
    expect(gateways).toHaveLength(2)
    for (const gateway of gateways) expect(await statusOf(portal, gateway)).toBeLessThan(500)
    const commands = (await descendantsOf(pid)).map(({ command }) => command)
    expect(commands.filter(command => command.endsWith('sallyport.ts connector'))).toHaveLength(3)
  })
})

describe('sallyport', () => {
  it('names --port when another program has the port', async () => {
    const taken = createTcpServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo
    const { code, said } = await refused(
      sallyport('up', '--port', String(port), '--data', await temporaryFolder()),
    )
    expect(code).toBe(78)
    expect(said).toContain(
      `--port: ${port} is in use by another program, or by a system that runs already;`,
    )
  })

  it('refuses bad options before it starts anything', async () => {
    const data = await temporaryFolder()
    const { code, said } = await refused(up(data, '--publish', 'wiki', '--connectors', 'x'))
    expect(code).toBe(78)
    expect(said).toContain('--publish wiki: must be NAME=URL')
    expect(said).toContain('--connectors: must be')
  })

  it('refuses a variable that no service has, before it starts anything', async () => {
    const said = await refusedWith({ SALLYPORT_GATEWAY_PROT: '9000' })
    expect(said).toContain('did you mean SALLYPORT_GATEWAY_PORT?')
  })

  it('says which option takes the place of a variable that it does not use', async () => {
    // That the data folder cannot be is what ends it.
    const said = await refusedWith({ SALLYPORT_GATEWAY_PORT: '9000' }, '--data', '/dev/null')
    expect(said).toContain('SALLYPORT_GATEWAY_PORT: is not used here; give --port')
  })

  it('names a nats-server that cannot be used', async () => {
    const child = spawn(
      process.execPath,
      ['sallyport.ts', 'up', '--port', '0', '--data', await temporaryFolder()],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, NATS_SERVER: '/does/not/exist' },
      },
    )
    const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    expect(code).toBe(1)
    expect(said).toContain('/does/not/exist: missing')
  })

  it('suggests the command that was meant', async () => {
    const { code, said } = await refused(sallyport('gatway'))
    expect(code).toBe(2)
    expect(said).toContain('Did you mean gateway?')
  })

  it.each([
    ['frob', "unknown command 'frob'"],
    ['policy lst', 'Did you mean list?'],
    ['policy list extra', 'too many arguments'],
    ['gateway extra', 'gateway takes no argument "extra"'],
    ['up --prt 1', 'Did you mean --port?'],
    ['veto chek x', 'Did you mean check?'],
    ['connector --environment /not/there', '--environment: /not/there cannot be read'],
  ])('ends with status 2 when it is called as: %s', async (words, reason) => {
    const { code, said } = await refused(sallyport(...words.split(' ')))
    expect([code, said]).toEqual([2, expect.stringContaining(reason)])
  })

  it('says which variables a service needs when they are missing', async () => {
    const { code, said } = await refused(sallyport('policy'))
    expect(code).toBe(78)
    expect(said).toContain('SALLYPORT_BUS_URL')
  })
})
