/**
 * A whole system on one machine: bus, identity provider, sample applications and any number of each service.
 * `sallyport up` and the system tests start it through this one function. What was started last stops first, the bus
 * at the end.
 */

import { closeSync, openSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../config.ts'
import type { Logger, LogLevel } from '../log.ts'
import { type DataFolder, openDataFolder } from './data-folder.ts'
import { adminPort } from './kept-port.ts'
import { keepNextConnector } from './next-connector.ts'
import { type EmbeddedParts, type ExternalIdentityProvider, startParts } from './parts.ts'
import { freePort } from './ports.ts'
import { localUrl, type Place, type Publication, placeOf, portalName } from './publications.ts'
import { makeConnectorToken, type PublishedApplication, publishAll } from './publish-all.ts'
import { type ServiceRole, serviceRoles } from './service-process.ts'
import { type Enrolment, Services } from './services.ts'

export interface SystemOptions {
  dataDirectory: string
  /** Of the first gateway; a free one unless given. */
  port?: number
  /** How many of each; one unless given. */
  counts?: Partial<Record<ServiceRole, number>>
  publish?: readonly Publication[]
  /** The embedded one unless given. */
  identityProvider?: ExternalIdentityProvider
  /** Without TLS, and one user for all connectors in place of certificates: to measure, or to look at messages. */
  isBusPlain?: boolean
  /** Passed on to all services; `PATH` and `NATS_SERVER` say where nats-server is. */
  environment: Environment
  logLevel: LogLevel
  /** Where the services write their logs; standard error unless given. */
  logFile?: string
  log: Logger
  signal?: AbortSignal
}

export interface System extends AsyncDisposable {
  readonly port: number
  readonly portal: string
  readonly admin: { readonly url: string; readonly token: string; readonly tokenFile: string }
  readonly parts: EmbeddedParts
  readonly services: Services
  /** What was published when the system had started. */
  readonly applications: readonly PublishedApplication[]
  /** Where each gateway listens, the first one at the system's port. */
  readonly gatewayUrls: readonly string[]
  /** Holds a file of variables for each kind of service, to start more of them by hand. */
  readonly environmentFolder: string
  /** Ends every process at once, in no order. */
  killNow(): void
}

const tokenName = 'admin-token'
const environmentPart = 'environment'
const identitiesPart = 'connectors'

/** Resolves when it serves: every service is ready, and everything asked for is published. */
export async function startSystem(options: SystemOptions): Promise<System> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await openDataFolder(options.dataDirectory))
  const port = options.port || (await freePort())
  const place = placeOf(port, options.environment)
  const portal = localUrl(portalName, place)
  const parts = stack.use(await startParts({ ...options, folder, portal }))
  // Compiling the same modules anew is half of what each process costs at its start.
  const compiled = { NODE_COMPILE_CACHE: await folder.part('compile-cache') }
  const environment = { ...compiled, ...options.environment }
  const admin = {
    url: '',
    token: await folder.secret(tokenName),
    tokenFile: folder.secretFile(tokenName),
  }
  const services: Services = stack.use(
    new Services({
      ...options,
      environment,
      ...openLog(options, stack),
      busUrl: role => parts.nats.urlFor(role),
      busCaPath: join(parts.authority, 'root.pem'),
      authority: parts.authority,
      enrolment: await enrolmentOf(folder, parts, groupId => {
        const [registry] = services.of('registry')
        return makeConnectorToken({ ...admin, url: String(registry?.details.admin) }, groupId)
      }),
      identityProvider: parts.identityProvider,
      adminToken: admin.token,
      spillDirectory: await folder.part('audit'),
      portal,
      place,
      adminPort: await adminPort({ ...options, folder, gatewayPort: port }),
    }),
  )
  const applications = await startServices(services, { options, parts, admin, place })
  const environmentFolder = await folder.part(environmentPart)
  const enrolled = parts.nats.web ? ['connector'] : []
  for (const role of serviceRoles.filter(one => !enrolled.includes(one))) {
    await writeEnvironment(join(environmentFolder, role), services.environmentForMore(role))
  }
  if (parts.nats.web) {
    const write = async (name: string) =>
      writeEnvironment(
        join(environmentFolder, 'connector'),
        await services.environmentForConnector(name),
      )
    const identities = await folder.part(identitiesPart)
    stack.use(await keepNextConnector({ identities, write, log: options.log }))
  }
  const owned = stack.move()
  return {
    port,
    portal,
    admin,
    parts,
    services,
    applications,
    environmentFolder,
    get gatewayUrls() {
      return services
        .of('gateway')
        .map(({ details }) => `${place.scheme}://127.0.0.1:${details.port}`)
    },
    killNow: () => {
      services.killAllNow()
      void parts.nats.kill()
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/** Lines that shells and `--environment` read alike; secrets are among them. */
async function writeEnvironment(file: string, environment: Environment): Promise<void> {
  const lines = Object.entries(environment).map(([name, value]) => `${name}='${value}'\n`)
  await writeFile(file, lines.join(''), { mode: 0o600 })
}

interface Start {
  options: SystemOptions
  parts: EmbeddedParts
  /** Its URL is filled in when the registry tells it. */
  admin: { url: string; token: string }
  place: Place
}

/** The registry first: it creates the buckets that all others wait for. */
async function startServices(services: Services, start: Start): Promise<PublishedApplication[]> {
  const { counts = {}, publish = [], signal } = start.options
  const addAll = (role: ServiceRole) =>
    Promise.all(Array.from({ length: counts[role] ?? 1 }, () => services.add(role)))
  await addAll('registry')
  start.admin.url = String(services.of('registry')[0]?.details.admin)
  const api = { ...start.admin, ...(signal && { signal }) }
  const [applications] = await Promise.all([
    publishAll(api, [...start.parts.samples, ...publish], start.place),
    addAll('policy'),
    // Connectors enrol through a gateway.
    addAll('gateway').then(() => addAll('connector')),
  ])
  return applications
}

/** Undefined on a plain bus. */
async function enrolmentOf(
  folder: DataFolder,
  { nats }: EmbeddedParts,
  makeToken: Enrolment['makeToken'],
): Promise<Enrolment | undefined> {
  if (!nats.web) return undefined
  return { connectorBusUrl: nats.web.url, identities: await folder.part(identitiesPart), makeToken }
}

function openLog({ logFile }: SystemOptions, stack: AsyncDisposableStack) {
  if (logFile === undefined) return {}
  const logDescriptor = openSync(logFile, 'a', 0o600)
  stack.defer(() => closeSync(logDescriptor))
  return { logDescriptor }
}
