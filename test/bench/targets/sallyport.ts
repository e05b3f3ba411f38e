/**
 * The whole system as `sallyport up` starts it, with sign-in, lease and audit on: the session is had once by a real
 * sign-in at the embedded identity provider, and every request is one of a signed-in user.
 */

import { readFile } from 'node:fs/promises'
import { type ServiceRole, serviceRoles } from '#infra/embedded/service-process.ts'
import { startSystem, type TestSystem } from '../../harness/system.ts'
import { UserAgent } from '../../harness/user-agent.ts'
import type { Child } from '../child.ts'
import type { Processes } from '../cpu.ts'
import type { Target } from './target.ts'

const name = 'bench'

export async function sallyport(origin: Child): Promise<Target> {
  await using stack = new AsyncDisposableStack()
  const internalUrl = `http://127.0.0.1:${origin.port}/`
  const system = stack.use(
    await startSystem({
      publish: [{ name, displayName: name, internalUrl, access: 'signed-in' }],
      logLevel: 'warn',
    }),
  )
  const url = new URL(`http://${name}.sallyport.localhost:${system.port}/json`)
  const cookie = await signIn(system, url)
  const owned = stack.move()
  return {
    name: 'sallyport',
    port: system.port,
    headers: { Host: url.host, Cookie: cookie },
    processes: processesOf(system),
    version: JSON.parse(await readFile('package.json', 'utf8')).version,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function signIn(system: TestSystem, url: URL): Promise<string> {
  using browser = new UserAgent()
  const [user] = system.parts.identityProvider.users
  if (!user) throw new Error('the embedded identity provider has no users')
  const page = await browser.signIn(url.href, user.name, user.password)
  if (page.status !== 200) throw new Error(`signing in ended with ${page.status} at ${page.url}`)
  return browser.cookies.header(url) ?? ''
}

function processesOf(system: TestSystem): Processes {
  const pids = (role: ServiceRole) =>
    system.services.of(role).flatMap(({ pid }) => (pid === undefined ? [] : [pid]))
  const services = serviceRoles.map(role => [role, pids(role)] as const)
  return { ...Object.fromEntries(services), 'nats-server': [system.parts.nats.process.pid ?? 0] }
}
