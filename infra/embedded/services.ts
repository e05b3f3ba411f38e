/**
 * The services of one system, any number of each, every one a process of its own. Disposing stops them in the order in
 * which nothing is lost: gateways first, since they hold the clients, then connectors, policy and registry.
 */

import { join } from 'node:path'
import type { Environment } from '../config.ts'
import { defaultConnectorGroupId } from '../contracts/connector.ts'
import { exitRemoved } from '../lifecycle.ts'
import type { Logger, LogLevel } from '../log.ts'
import type { BusRole } from '../permissions.ts'
import type { IdentityProvider } from './parts.ts'
import { freePort } from './ports.ts'
import { localDomain, type Place } from './publications.ts'
import { ServiceProcess, type ServiceRole, serviceRoles } from './service-process.ts'

export interface ServicesOptions {
  busUrl: (role: BusRole) => string
  /** Root certificate of the authority. */
  busCaPath?: string | undefined
  /** Folder of the certificate authority, for registries. */
  authority?: string | undefined
  /** How connectors get on the bus; left out, they all share its user for connectors. */
  enrolment?: Enrolment | undefined
  identityProvider: IdentityProvider
  adminToken: string
  /** Where audit events wait while the bus is away. */
  spillDirectory: string
  portal: string
  /** Of the first gateway. */
  place: Place
  /** Of the first registry; a free one unless given. */
  adminPort?: number
  /** For all of them, before their own. */
  environment: Environment
  logLevel: LogLevel
  logDescriptor?: number
  log: Logger
  signal?: AbortSignal
}

export interface Enrolment {
  /** Where connectors find the bus. */
  connectorBusUrl: string
  /** Holds a folder for each connector's identity. */
  identities: string
  /** A new one-time token for a group. */
  makeToken(groupId: string): Promise<string>
}

/** Where a single machine wants something else than an installation; the environment may still say otherwise. */
const embeddedDefaults: Environment = {
  SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: String(2 ** 30),
  // One machine has connectors of one kind: nobody should have to create a group first.
  SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES: 'true',
  // Ctrl-C should not wait for a page that is open in a browser and keeps a stream.
  SALLYPORT_GATEWAY_DRAIN_SECONDS: '3',
  SALLYPORT_CONNECTOR_DRAIN_SECONDS: '5',
}

export class Services implements AsyncDisposable {
  readonly #options: ServicesOptions
  readonly #running: ServiceProcess[] = []
  readonly #started = new Map<ServiceRole, number>()

  constructor(options: ServicesOptions) {
    this.#options = options
  }

  /** Those of one kind, oldest first. */
  of(role: ServiceRole): readonly ServiceProcess[] {
    return this.#running.filter(service => service.role === role)
  }

  /** Starts one more and resolves when it is ready. `environment` is for this one alone. */
  async add(role: ServiceRole, environment: Environment = {}): Promise<ServiceProcess> {
    const { logDescriptor, log, signal } = this.#options
    const number = (this.#started.get(role) ?? 0) + 1
    this.#started.set(role, number)
    const name = `${role}-${number}`
    const asked = merge(embeddedDefaults, this.#options.environment, environment)
    const own = await this.#environmentOf(role, { name, isFirst: number === 1, asked })
    const service = new ServiceProcess({
      role,
      name,
      environment: merge(embeddedDefaults, this.#options.environment, own, environment),
      log,
      ...(logDescriptor !== undefined && { logDescriptor }),
      ...(signal && { signal }),
    })
    this.#running.push(service)
    try {
      await startRested(service)
    } catch (error) {
      await this.kill(service)
      throw error
    }
    return service
  }

  /** What one more of this kind needs that is started by hand, at free ports and under a name of its own. */
  environmentForMore(role: ServiceRole): Environment {
    const common = this.#common(role)
    const own: Record<ServiceRole, Environment> = {
      gateway: this.#gateway(undefined, 0),
      connector: {},
      policy: this.#policy(undefined),
      registry: this.#registry(0),
    }
    return merge(embeddedDefaults, common, own[role])
  }

  /** The same for a connector that has to enrol; `name` is a folder for its identity. */
  async environmentForConnector(name: string): Promise<Environment> {
    const { SALLYPORT_CONNECTOR_ID: _, ...own } = await this.#connector(
      name,
      this.#options.environment,
    )
    return merge(embeddedDefaults, own)
  }

  async #environmentOf(
    role: ServiceRole,
    { name, isFirst, asked }: { name: string; isFirst: boolean; asked: Environment },
  ): Promise<Environment> {
    // Whoever starts it may have the bus of another system set, or an auditor's key, as `tail` wants it.
    const common = {
      SALLYPORT_BUS_URL: '',
      SALLYPORT_BUS_CA_PATH: '',
      ...this.#common(role),
      SALLYPORT_LOG_LEVEL: this.#options.logLevel,
    }
    if (role === 'connector') return { ...common, ...(await this.#connector(name, asked)) }
    if (role === 'policy') return { ...common, ...this.#policy(name) }
    // A process that is started again must listen where it did before: the port is chosen here.
    const { place, adminPort } = this.#options
    const first = role === 'gateway' ? place.port : adminPort
    const port = (isFirst ? first : undefined) ?? (await freePort())
    return { ...common, ...(role === 'gateway' ? this.#gateway(name, port) : this.#registry(port)) }
  }

  #common(role: ServiceRole): Environment {
    const { busUrl, busCaPath, enrolment } = this.#options
    // A connector knows both from its identity.
    if (role === 'connector' && enrolment) return {}
    return { SALLYPORT_BUS_URL: busUrl(role), SALLYPORT_BUS_CA_PATH: busCaPath }
  }

  /** Enrols with its first start, in the group that is asked for; afterwards its identity says all. */
  async #connector(name: string, asked: Environment): Promise<Environment> {
    const { SALLYPORT_CONNECTOR_ID: id = name, SALLYPORT_CONNECTOR_GROUP: group } = asked
    const { enrolment } = this.#options
    const { NO_PROXY, SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH: certificate } = asked
    // A certificate for trying out signs itself.
    const trust = certificate ? { NODE_EXTRA_CA_CERTS: certificate } : {}
    if (!enrolment) {
      const gateway = this.#options.portal
      return { SALLYPORT_CONNECTOR_ID: id, SALLYPORT_CONNECTOR_GATEWAY_URL: gateway, ...trust }
    }
    return {
      SALLYPORT_CONNECTOR_ID: id,
      SALLYPORT_CONNECTOR_IDENTITY_PATH: join(enrolment.identities, id),
      SALLYPORT_CONNECTOR_TOKEN: await enrolment.makeToken(group ?? defaultConnectorGroupId),
      NO_PROXY: [NO_PROXY, 'localhost', '.localhost', '127.0.0.1'].filter(Boolean).join(','),
      ...trust,
    }
  }

  #registry(port: number): Environment {
    const { place, busUrl, authority, enrolment, portal } = this.#options
    return {
      SALLYPORT_REGISTRY_SYSTEM_BUS_URL: busUrl('system'),
      SALLYPORT_REGISTRY_AUTHORITY_PATH: authority,
      ...(enrolment && {
        SALLYPORT_REGISTRY_CALLOUT_BUS_URL: busUrl('callout'),
        SALLYPORT_REGISTRY_ENROLMENT_URL: portal,
        SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS: enrolment.connectorBusUrl,
      }),
      SALLYPORT_REGISTRY_PORT: String(port),
      SALLYPORT_REGISTRY_ADMIN_TOKEN: this.#options.adminToken,
      SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: `${place.scheme}://${localDomain}:${place.port}/`,
    }
  }

  #policy(name: string | undefined): Environment {
    const { issuer, clientId, isPlainHttp } = this.#options.identityProvider
    return {
      SALLYPORT_POLICY_IDENTITY_PROVIDER: issuer,
      SALLYPORT_POLICY_CLIENT_ID: clientId,
      SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: String(isPlainHttp),
      ...(name !== undefined && { SALLYPORT_POLICY_AUDIT_SPILL_PATH: this.#spillFile(name) }),
    }
  }

  #gateway(name: string | undefined, port: number): Environment {
    const { issuer, clientId, clientSecretFile, isPlainHttp } = this.#options.identityProvider
    return {
      SALLYPORT_GATEWAY_PORT: String(port),
      SALLYPORT_GATEWAY_PORTAL_URL: this.#options.portal,
      SALLYPORT_GATEWAY_IDENTITY_PROVIDER: issuer,
      SALLYPORT_GATEWAY_CLIENT_ID: clientId,
      SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: clientSecretFile,
      ...(name !== undefined && { SALLYPORT_GATEWAY_AUDIT_SPILL_PATH: this.#spillFile(name) }),
      SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER: String(isPlainHttp),
    }
  }

  #spillFile(name: string): string {
    return join(this.#options.spillDirectory, `${name}.jsonl`)
  }

  /** Lets one finish and stop, as SIGTERM does. */
  async stop(service: ServiceProcess): Promise<void> {
    await service.stop()
    this.#forget(service)
  }

  /** Ends one as a crash would; it is not started again. */
  async kill(service: ServiceProcess): Promise<void> {
    await service.kill()
    this.#forget(service)
  }

  #forget(service: ServiceProcess): void {
    const index = this.#running.indexOf(service)
    if (index >= 0) this.#running.splice(index, 1)
  }

  killAllNow(): void {
    for (const service of this.#running) service.killNow()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const role of serviceRoles.toReversed()) {
      await Promise.all(this.of(role).map(service => this.stop(service)))
    }
  }
}

/** A connector that was off for so long that it is removed while it starts: its token, not used so far, enrols it anew. */
async function startRested(service: ServiceProcess): Promise<void> {
  try {
    await service.start()
  } catch (error) {
    if (service.exitCode !== exitRemoved) throw error
    await service.start()
  }
}

/** Later ones win; a value that is set replaces a file that would give it, and the reverse. */
function merge(...environments: readonly Environment[]): Environment {
  const merged: Environment = {}
  for (const environment of environments) {
    for (const [name, value] of Object.entries(environment)) {
      if (value === undefined) continue
      if (name.startsWith('SALLYPORT_')) delete merged[otherForm(name)]
      merged[name] = value
    }
  }
  return merged
}

function otherForm(name: string): string {
  return name.endsWith('_FILE') ? name.slice(0, -'_FILE'.length) : `${name}_FILE`
}
