/** A registry with a bus of its own, and an HTTP client that carries the administrator's token. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { z } from 'zod'
import { keepAuthority } from '#infra/authority.ts'
import type { Bus } from '#infra/bus.ts'
import { readConfig } from '#infra/config.ts'
import {
  type Application,
  ApplicationChanges,
  type ApplicationsReply,
  type ApplicationsRequest,
  ApplicationsStatement,
} from '#infra/contracts/application.ts'
import { eventsOf } from '#infra/contracts/audit.ts'
import type { Service } from '#infra/lifecycle.ts'
import { createLogger } from '#infra/log.ts'
import { StatementText, verifyStatement } from '#infra/statement.ts'
import { subjects } from '#infra/subjects.ts'
import { readList } from '../../connector/application-list.ts'
import { Statements } from '../../connector/statements.ts'
import { RegistryConfig } from '../../registry/config.ts'
import { startRegistry } from '../../registry/registry.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { type Run, runCommand } from './cli.ts'

export const adminToken = 'test-token-of-the-administrator'
export const groupsPath = '/onPremisesPublishingProfiles/applicationProxy/connectorGroups'
export const connectorsPath = '/onPremisesPublishingProfiles/applicationProxy/connectors'

/** Signs what the registries of one test file say. */
export const authorityPath = mkdtempSync(join(tmpdir(), 'sallyport-authority-'))
afterAll(() => rmSync(authorityPath, { recursive: true, force: true }))

export const authority = () => keepAuthority(authorityPath)

/** What a connector believes of what comes over this bus. */
export async function statementsOf(bus: Bus): Promise<Statements> {
  const { root } = await authority()
  return new Statements({ bus, root, log: createLogger('test', 'silent') })
}

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
  /** The command line, as its administrator calls it. */
  run(...args: string[]): Promise<Run>
}

export function registryConfig(nats: TestNats, environment: Record<string, string> = {}) {
  return readConfig(RegistryConfig, registryEnvironment(nats, environment))
}

export function registryEnvironment(
  nats: TestNats,
  environment: Record<string, string>,
): Record<string, string> {
  return {
    SALLYPORT_BUS_URL: nats.server.urlFor('registry'),
    SALLYPORT_LOG_LEVEL: 'silent',
    SALLYPORT_REGISTRY_PORT: '0',
    SALLYPORT_REGISTRY_AUTHORITY_PATH: authorityPath,
    SALLYPORT_REGISTRY_ADMIN_TOKEN: adminToken,
    SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: 'http://sallyport.localhost:8080/',
    SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: String(64 * 2 ** 20),
    SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: 'true',
    ...environment,
  }
}

export async function startTestRegistry(
  environment: Record<string, string> = {},
): Promise<TestRegistry> {
  await using stack = new AsyncDisposableStack()
  const nats = stack.use(await startTestNats())
  const service = stack.use(await startRegistry(registryConfig(nats, environment)))
  const owned = stack.move()
  const admin = adminClient(service)
  return {
    nats,
    service,
    ...admin,
    run: (...args) =>
      runCommand(args, { SALLYPORT_ADMIN_URL: admin.url, SALLYPORT_ADMIN_TOKEN: adminToken }),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}

export function adminClient(service: Pick<Service, 'details'>): AdminClient {
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

/** What a push of applications says, as far as it is signed. */
export async function changesIn(push: unknown): Promise<ApplicationChanges> {
  const { root } = await authority()
  const statement = verifyStatement(root, 'applications', StatementText.parse(push))
  return ApplicationChanges.parse(ApplicationsStatement.parse(statement).said)
}

/** One question of a connector for its group's applications. */
export async function askFor(
  connector: Bus,
  group: string,
  request: ApplicationsRequest,
): Promise<ApplicationsReply> {
  const statements = await statementsOf(connector)
  const question = { type: 'applications', said: ApplicationsStatement, request } as const
  const { said } = await statements.ask(subjects.applicationsRequest(group), question)
  return said
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
