/**
 * The whole system as `sallyport up` starts it, with sign-in, lease and audit on: the session is had once by a real
 * sign-in at the embedded identity provider, and every request is one of a signed-in user.
 */

import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Environment } from '#infra/config.ts'
import { type ServiceRole, serviceRoles } from '#infra/embedded/service-process.ts'
import { startSystem, type TestSystem } from '../../harness/system.ts'
import { UserAgent } from '../../harness/user-agent.ts'
import type { Processes } from '../machine/process-tree.ts'
import type { StartOptions, Target } from './target.ts'

export interface SallyportOptions extends StartOptions {
  /** For all services. */
  readonly environment?: Environment
  /** In place of the origin's address. */
  readonly internalUrl?: string
}

export interface SallyportTarget extends Target {
  readonly system: TestSystem
}

const application = 'bench'

export async function sallyport(options: SallyportOptions): Promise<SallyportTarget> {
  await using stack = new AsyncDisposableStack()
  const { origin, certificate, environment } = options
  const internalUrl = options.internalUrl ?? `http://127.0.0.1:${origin.port}/`
  const system = stack.use(
    await startSystem({
      publish: [{ name: application, displayName: application, internalUrl, access: 'signed-in' }],
      environment: { ...certificate?.environment, ...environment },
      // The goals say which: plain beside plain targets, TLS beside those with TLS.
      isBusPlain: certificate === undefined,
      logLevel: 'warn',
    }),
  )
  const scheme = certificate ? 'https' : 'http'
  const url = new URL(`${scheme}://${application}.sallyport.localhost:${system.port}/json`)
  const cookie = await signIn(system, url, certificate?.cert)
  const owned = stack.move()
  return {
    name: 'sallyport',
    port: system.port,
    isSecure: certificate !== undefined,
    headers: { Host: url.host, Cookie: cookie },
    get processes() {
      return processesOf(system)
    },
    version: await ownVersion(),
    system,
    isBusSecure: system.parts.nats.urlFor('gateway').startsWith('tls:'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const collectedWithinMs = 1_000

/** The environment of a system that can be asked to collect garbage, and the way to ask. */
export const collecting = {
  environment: {
    NODE_OPTIONS: `--import=${fileURLToPath(new URL('../helpers/collect-on-signal.ts', import.meta.url))}`,
  },
  async collect(processes: Processes): Promise<void> {
    const { 'nats-server': _, ...services } = processes
    for (const pid of Object.values(services).flat()) process.kill(pid, 'SIGUSR2')
    await sleep(collectedWithinMs)
  },
}

async function ownVersion(): Promise<string> {
  const manifest = await readFile(new URL('../../../package.json', import.meta.url), 'utf8')
  return `${JSON.parse(manifest).version}, signed-in user, lease checked by the connector, audit stored`
}

async function signIn(system: TestSystem, url: URL, ca: string | undefined): Promise<string> {
  using browser = new UserAgent(ca === undefined ? {} : { ca })
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
