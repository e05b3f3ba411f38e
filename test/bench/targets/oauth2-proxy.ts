/**
 * oauth2-proxy in front of frp's http: the usual way to have with other programs what Sallyport is, a reverse
 * connection behind a sign-in. The user signs in once at the same embedded identity provider as with us; every request
 * carries the session cookie, which oauth2-proxy opens and checks, and is a line of its request log.
 */

import { randomBytes } from 'node:crypto'
import { startIdentityProvider } from '#infra/embedded/identity-provider.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { UserAgent } from '../../harness/user-agent.ts'
import { startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPath, versionOf } from '../machine/programs.ts'
import { frpHost, frpHttp } from './frp.ts'
import {
  isMissing,
  type MissingTarget,
  notInstalled,
  type StartOptions,
  type Target,
} from './target.ts'

const name = 'oauth2-proxy'

/** Its session ends with the tokens, five minutes after the sign-in. */
const signInEveryMs = 120_000

export async function oauth2Proxy(options: StartOptions): Promise<Target | MissingTarget> {
  const program = await programPath(name)
  if (!program) return notInstalled(name, name)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const frp = await frpHttp(options)
  if (isMissing(frp)) return { name, note: frp.note }
  stack.use(frp)
  const port = await freePort()
  const url = `http://${frpHost}:${port}`
  const client = { id: name, secret: randomBytes(16).toString('hex') }
  const provider = stack.use(
    await startIdentityProvider({
      storeDirectory: folder,
      clients: [
        { ...client, redirectUris: [`${url}/oauth2/callback`], postLogoutRedirectUris: [url] },
      ],
    }),
  )
  const daemon = stack.use(
    await startDaemon(program, settings({ port, frpPort: frp.port, url, client, provider }), {
      port,
      folder,
    }),
  )
  const session = new Session(`${url}/json`, provider.users[0])
  await session.refresh()
  const owned = stack.move()
  return {
    name,
    port,
    get headers() {
      return { Host: `${frpHost}:${port}`, Cookie: session.cookie }
    },
    processes: { [name]: [daemon.pid], ...frp.processes },
    version: `${(await versionOf(program, ['--version'])).split(' (')[0]} before ${frp.version}`,
    refresh: () => session.refresh(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

interface Settings {
  port: number
  frpPort: number
  url: string
  client: { id: string; secret: string }
  provider: { issuer: string }
}

function settings({ port, frpPort, url, client, provider }: Settings): string[] {
  const options = {
    'http-address': `127.0.0.1:${port}`,
    upstream: `http://127.0.0.1:${frpPort}/`,
    provider: 'oidc',
    'oidc-issuer-url': provider.issuer,
    'client-id': client.id,
    'client-secret': client.secret,
    'redirect-url': `${url}/oauth2/callback`,
    'code-challenge-method': 'S256',
    scope: 'openid email profile',
    'insecure-oidc-allow-unverified-email': 'true',
    'email-domain': '*',
    'cookie-secret': randomBytes(16).toString('hex'),
    'cookie-secure': 'false',
    'skip-provider-button': 'true',
  }
  return Object.entries(options).map(([key, value]) => `--${key}=${value}`)
}

class Session {
  readonly #url: string
  readonly #user: { name: string; password: string } | undefined
  #signedInMs = Number.NEGATIVE_INFINITY
  cookie = ''

  constructor(url: string, user: { name: string; password: string } | undefined) {
    this.#url = url
    this.#user = user
  }

  async refresh(): Promise<void> {
    if (performance.now() - this.#signedInMs < signInEveryMs) return
    if (!this.#user) throw new Error('the embedded identity provider has no users')
    using browser = new UserAgent()
    const page = await browser.signIn(this.#url, this.#user.name, this.#user.password)
    if (page.status !== 200) throw new Error(`${name}: signing in ended with ${page.status}`)
    this.cookie = browser.cookies.header(new URL(this.#url)) ?? ''
    this.#signedInMs = performance.now()
  }
}
