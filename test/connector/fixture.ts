/** A registry and a gateway in this process, for connectors that are not on the bus yet; and answers that they never give. */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '#infra/config.ts'
import { decodeToken, encodeToken } from '#infra/connector-token.ts'
import { GatewayConfig } from '../../gateway/config.ts'
import { startGateway } from '../../gateway/gateway.ts'
import { startTestRegistry, type TestRegistry } from '../registry/fixture.ts'

export interface Door extends AsyncDisposable {
  readonly registry: TestRegistry
  /** Of the portal. */
  readonly url: string
  /** A token as text; `more` changes what stands in it. */
  token(body?: object, more?: object): Promise<string>
}

const tokensPath = '/onPremisesPublishingProfiles/applicationProxy/connectorEnrolmentTokens'

export async function openDoor(environment: Record<string, string> = {}): Promise<Door> {
  await using stack = new AsyncDisposableStack()
  const registry = stack.use(
    await startTestRegistry({
      SALLYPORT_REGISTRY_ENROLMENT_URL: 'https://portal.example.com/',
      SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS: 'wss://bus.example.com',
    }),
  )
  const gateway = stack.use(
    await startGateway(
      readConfig(GatewayConfig, {
        SALLYPORT_BUS_URL: registry.nats.server.urlFor('gateway'),
        SALLYPORT_LOG_LEVEL: 'silent',
        SALLYPORT_GATEWAY_PORT: '0',
        SALLYPORT_GATEWAY_PORTAL_URL: 'http://portal.sallyport.localhost/',
        SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'https://login.example.com/',
        SALLYPORT_GATEWAY_CLIENT_ID: 'sallyport',
        ...environment,
      }),
    ),
  )
  const url = `http://portal.sallyport.localhost:${gateway.details.port}/`
  const owned = stack.move()
  return {
    registry,
    url,
    async token(body = {}, more = {}) {
      const answer = await registry.send('POST', tokensPath, body)
      return encodeToken({ ...decodeToken(answer.body.token), url, ...more })
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

export interface Impostor extends AsyncDisposable {
  readonly url: string
}

/** Answers in place of a gateway. */
export async function impostor(answer: RequestListener): Promise<Impostor> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'sallyport-identity-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
