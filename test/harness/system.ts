/**
 * A whole system for a test: the same code as `sallyport up`, on free ports, with a temporary data folder that goes with
 * it. The services' logs are in a file and are shown when the start fails; `logs` reads them.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bus, connectBus } from '#infra/bus.ts'
import type { Environment } from '#infra/config.ts'
import type { Publication } from '#infra/embedded/publications.ts'
import type { ServiceProcess, ServiceRole } from '#infra/embedded/service-process.ts'
import { type System, type SystemOptions, startSystem as start } from '#infra/embedded/system.ts'
import { createLogger, type LogLevel } from '#infra/log.ts'
import type { BusRole } from '#infra/permissions.ts'

export interface TestSystemOptions {
  gateways?: number
  connectors?: number
  policies?: number
  registries?: number
  publish?: readonly Publication[]
  /** For all services, as `{ SALLYPORT_CONNECTOR_MAX_EXCHANGES: '2' }`. */
  environment?: Environment
  identityProvider?: SystemOptions['identityProvider']
  /** Without TLS and enrolment, for tests that look at what goes over the bus as a connector. */
  isBusPlain?: boolean
  logLevel?: LogLevel
  /** Of what starts them and of the bus's server, which is shown. */
  ownLogLevel?: LogLevel
}

export interface TestSystem extends System {
  readonly dataDirectory: string
  /** One more of a kind, as `add('connector', { SALLYPORT_CONNECTOR_GROUP: 'paris' })`. */
  add(role: ServiceRole, environment?: Environment): Promise<ServiceProcess>
  /** SIGTERM, and its end. */
  stop(service: ServiceProcess): Promise<void>
  /** SIGKILL; it is not started again. */
  kill(service: ServiceProcess): Promise<void>
  /** A bus in a role, closed with the system. */
  connect(role: BusRole): Promise<Bus>
  /** Everything the services have written so far. */
  logs(): Promise<string>
}

export async function startSystem(options: TestSystemOptions = {}): Promise<TestSystem> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const dataDirectory = join(folder, 'data')
  const logFile = join(folder, 'services.log')
  const logs = () => readFile(logFile, 'utf8').catch(() => '')
  const system = stack.use(
    await start({ ...systemOptions(options), dataDirectory, logFile }).catch(async error => {
      throw new Error(`the system did not start; its log:\n${await logs()}`, { cause: error })
    }),
  )
  const buses = stack.use(new AsyncDisposableStack())
  const owned = stack.move()
  return {
    ...system,
    get gatewayUrls() {
      return system.gatewayUrls
    },
    dataDirectory,
    add: (role: ServiceRole, environment?: Environment) => system.services.add(role, environment),
    stop: (service: ServiceProcess) => system.services.stop(service),
    kill: (service: ServiceProcess) => system.services.kill(service),
    connect: async (role: BusRole) =>
      buses.use(
        await connectBus({
          ...system.parts.nats.addressFor(role),
          role,
          log: createLogger('test', 'silent'),
        }),
      ),
    logs,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** An application for everybody who is signed in. */
export function signedInApplication(name: string, internalUrl: string): Publication {
  return { name, displayName: name, internalUrl, access: 'signed-in' }
}

function systemOptions(options: TestSystemOptions): Omit<SystemOptions, 'dataDirectory'> {
  const {
    gateways,
    connectors,
    policies,
    registries,
    environment,
    logLevel = 'info',
    ownLogLevel = 'error',
  } = options
  return {
    counts: {
      gateway: gateways ?? 1,
      connector: connectors ?? 1,
      policy: policies ?? 1,
      registry: registries ?? 1,
    },
    ...(options.publish && { publish: options.publish }),
    ...(options.identityProvider && { identityProvider: options.identityProvider }),
    isBusPlain: options.isBusPlain ?? false,
    environment: { ...process.env, ...environment },
    logLevel,
    log: createLogger('up', ownLogLevel),
  }
}
