/**
 * The OpenID provider that `sallyport up` brings along, so that Sallyport can be tried, and tested, without another
 * one. Its users and their passwords are public; it listens on loopback and answers to its own host name only,
 * which keeps web sites that point their name at this machine from using it.
 */

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../log.ts'
import { createProvider, type IdentityProviderClient } from './identity-provider/configuration.ts'
import { answerWith } from './identity-provider/front.ts'
import { openKeys } from './identity-provider/keys.ts'
import { openStore } from './identity-provider/store.ts'
import { sampleUsers } from './identity-provider/users.ts'

export type { IdentityProviderClient } from './identity-provider/configuration.ts'

export interface IdentityProviderOptions {
  /** A free one if left out; keep it the same where sessions have to outlive a restart. */
  port?: number
  host?: '127.0.0.1'
  /** Signing and cookie keys, and the sessions of the last run, are kept here. */
  storeDirectory: string
  clients: readonly IdentityProviderClient[]
  /** Hears of failures; without it they only show on the page. */
  log?: Logger
}

export interface IdentityProvider extends AsyncDisposable {
  readonly issuer: string
  readonly port: number
  readonly users: { name: string; password: string; groups: string[] }[]
}

export async function startIdentityProvider(
  options: IdentityProviderOptions,
): Promise<IdentityProvider> {
  await using stack = new AsyncDisposableStack()
  const keys = await openKeys(options.storeDirectory)
  const store = stack.use(await openStore(options.storeDirectory))
  const server = createServer({ requestTimeout: 30_000, headersTimeout: 10_000 })
  server.maxConnections = 1_000
  const port = await listen(server, options)
  stack.defer(() => close(server))
  const issuer = `http://localhost:${port}`
  const provider = createProvider({ issuer, keys, store, clients: options.clients })
  server.on('request', answerWith({ issuer, provider, log: options.log }))
  const running = stack.move()
  return {
    issuer,
    port,
    users: sampleUsers.map(({ name, password, groups }) => ({ name, password, groups })),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function listen(
  server: Server,
  { port = 0, host = '127.0.0.1' }: IdentityProviderOptions,
): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve((server.address() as AddressInfo).port)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
