/** A registry with a bus of its own, and an HTTP client that carries the administrator's token. */

import { z } from 'zod'
import type { Bus } from '#infra/bus.ts'
import { readConfig } from '#infra/config.ts'
import {
  type Application,
  ApplicationsReply,
  type ApplicationsRequest,
} from '#infra/contracts/application.ts'
import { eventsOf } from '#infra/contracts/audit.ts'
import type { Service } from '#infra/lifecycle.ts'
import { subjects } from '#infra/subjects.ts'
import { readList } from '../../connector/application-list.ts'
import { RegistryConfig } from '../../registry/config.ts'
import { startRegistry } from '../../registry/registry.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'

export const adminToken = 'test-token-of-the-administrator'
export const groupsPath = '/onPremisesPublishingProfiles/applicationProxy/connectorGroups'
export const connectorsPath = '/onPremisesPublishingProfiles/applicationProxy/connectors'

export interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into many shapes of answers
  readonly body: any
}

export interface AdminClient {
  readonly url: string
  /** `path` is below /v1.0. */
  send(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Answer>
}

export interface TestRegistry extends AdminClient, AsyncDisposable {
  readonly nats: TestNats
  readonly service: Service
}

export function registryConfig(nats: TestNats, environment: Record<string, string> = {}) {
  return readConfig(RegistryConfig, {
    SALLYPORT_BUS_URL: nats.server.urlFor('registry'),
    SALLYPORT_LOG_LEVEL: 'silent',
    SALLYPORT_REGISTRY_PORT: '0',
    SALLYPORT_REGISTRY_ADMIN_TOKEN: adminToken,
    SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: 'http://sallyport.localhost:8080/',
    SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: String(64 * 2 ** 20),
    ...environment,
  })
}

export async function startTestRegistry(
  environment: Record<string, string> = {},
): Promise<TestRegistry> {
  await using stack = new AsyncDisposableStack()
  const nats = stack.use(await startTestNats())
  const service = stack.use(await startRegistry(registryConfig(nats, environment)))
  const owned = stack.move()
  return {
    nats,
    service,
    ...adminClient(service),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}

export function adminClient(service: Service): AdminClient {
  const url = z.string().parse(service.details.admin)
  return {
    url,
    send: async (method, path, body, headers = {}) => {
      const response = await fetch(`${url}/v1.0${path}`, {
        method,
        headers: {
          authorization: `Bearer ${adminToken}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      const parsed = text === '' ? undefined : JSON.parse(text)
      return { status: response.status, headers: response.headers, body: parsed }
    },
  }
}

/** Publishes an application with no more than it needs. */
export async function publish(
  admin: AdminClient,
  id: string,
  more: Record<string, unknown> = {},
): Promise<Answer> {
  const onPremisesPublishing = { internalUrl: `http://${id}.internal/` }
  return await admin.send('POST', '/applications', { id, onPremisesPublishing, ...more })
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into many shapes of messages
export type Received = any

/** Everything that a subscription receives, as parsed JSON, in order. */
export async function listen(
  nats: TestNats,
  role: 'auditor' | 'connector' | 'gateway',
  subject: string,
): Promise<Received[]> {
  const bus = await nats.connect(role)
  const received: Received[] = []
  bus.subscribe(subject, {
    callback: ({ data }) => received.push(...eventsOf(data).map(text => JSON.parse(text))),
  })
  await bus.connection.flush()
  return received
}

/** One question of a connector for its group's applications. */
export function askFor(connector: Bus, group: string, request: ApplicationsRequest) {
  return connector.call(subjects.applicationsRequest(group), request, {
    reply: ApplicationsReply,
    timeoutMs: 2_000,
    unavailable: 'bus_unavailable',
  })
}

export interface GroupList {
  readonly version: number
  readonly applications: readonly Application[]
}

/** The whole list of a group, as its connectors read it. */
export async function listOf(connector: Bus, group: string): Promise<GroupList> {
  const first = await askFor(connector, group, {})
  if (first.kind !== 'page') throw new Error('no page was given')
  const read = await readList(
    request => askFor(connector, group, request),
    first,
    () => 0,
  )
  return { ...read, applications: [...read.applications.values()] }
}
