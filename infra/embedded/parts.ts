/**
 * What `sallyport up` brings along for the services: the bus, an identity provider for trying out (unless a real one is
 * named) and two sample applications. The last two run in this process.
 */

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { keepAuthority } from '../authority.ts'
import { ConfigurationError, type Environment } from '../config.ts'
import type { Logger } from '../log.ts'
import type { DataFolder } from './data-folder.ts'
import { startIdentityProvider } from './identity-provider.ts'
import { issuerProblem } from './issuer-problem.ts'
import { type KeptNatsServer, keepNatsServer } from './kept-nats-server.ts'
import { keptPort } from './kept-port.ts'
import { freePort } from './ports.ts'
import type { Publication, SampleName } from './publications.ts'
import { startSampleApplications } from './sample-applications.ts'

/** A real identity provider, named on the command line. */
export interface ExternalIdentityProvider {
  issuer: string
  clientId: string
  clientSecretFile?: string
}

export interface SampleUser {
  name: string
  password: string
  groups: readonly string[]
}

export interface IdentityProvider {
  issuer: string
  clientId: string
  clientSecretFile: string | undefined
  isPlainHttp: boolean
  /** Of the embedded one; nobody else's are known. */
  users: readonly SampleUser[]
}

export interface EmbeddedParts extends AsyncDisposable {
  readonly nats: KeptNatsServer
  /** Folder of the certificate authority. */
  readonly authority: string
  readonly identityProvider: IdentityProvider
  readonly samples: readonly Publication[]
}

export interface PartsOptions {
  folder: DataFolder
  portal: string
  identityProvider?: ExternalIdentityProvider
  /** Without TLS, and without certificates for connectors. */
  isBusPlain?: boolean
  environment: Environment
  log: Logger
  signal?: AbortSignal
}

export async function startParts(options: PartsOptions): Promise<EmbeddedParts> {
  await using stack = new AsyncDisposableStack()
  const authority = await options.folder.part('authority')
  await keepAuthority(authority, { busNames })
  // Stopped in reverse: the bus last.
  const nats = stack.use(await startBus(options, authority))
  const samples = stack.use(await startSampleApplications())
  const identityProvider = options.identityProvider
    ? await external(options.identityProvider, options)
    : stack.use(await embedded(options))
  const owned = stack.move()
  return {
    nats,
    authority,
    identityProvider,
    samples: [
      sample('handbook', 'Handbook', samples.handbook, 'signed-in'),
      sample('inventory', 'Inventory', samples.inventory, { group: 'warehouse' }),
    ],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const busNames = ['localhost', '127.0.0.1']

async function startBus(options: PartsOptions, authority: string): Promise<KeptNatsServer> {
  const { environment, folder, log, signal, isBusPlain = false } = options
  return await keepNatsServer({
    storeDirectory: await folder.part('bus'),
    port: await freePort(),
    binary: { named: environment.NATS_SERVER, path: environment.PATH },
    log,
    ...(signal && { signal }),
    // Connectors remember where they found the bus.
    ...(!isBusPlain && {
      authority,
      webPort: await keptPort(options, 'connector-bus-port', 'connectors have to hear of it'),
    }),
  })
}

function sample(
  name: SampleName,
  displayName: string,
  internalUrl: string,
  access: Publication['access'],
): Publication {
  return { name, displayName, internalUrl, access }
}

const clientId = 'sallyport'
const secretName = 'client-secret'

async function embedded(options: PartsOptions): Promise<IdentityProvider & AsyncDisposable> {
  const { folder, portal, log } = options
  const provider = await startIdentityProvider({
    port: await keptPort(options, 'identity-provider-port', 'sign in again'),
    storeDirectory: await folder.part('identity-provider'),
    log,
    clients: [
      {
        id: clientId,
        secret: await folder.secret(secretName),
        redirectUris: [`${portal}.sallyport/callback`],
        postLogoutRedirectUris: [`${portal}.sallyport/signed-out`],
      },
    ],
  })
  return {
    issuer: provider.issuer,
    clientId,
    clientSecretFile: folder.secretFile(secretName),
    isPlainHttp: true,
    users: provider.users,
    [Symbol.asyncDispose]: async () => provider[Symbol.asyncDispose](),
  }
}

async function external(
  provider: ExternalIdentityProvider,
  { log, signal }: PartsOptions,
): Promise<IdentityProvider> {
  const clientSecretFile = provider.clientSecretFile && resolve(provider.clientSecretFile)
  if (clientSecretFile) {
    await readFile(clientSecretFile).catch(error => {
      throw new ConfigurationError(
        `--client-secret-file: ${clientSecretFile} cannot be read (${error.code}); name a file that holds the secret alone`,
      )
    })
  }
  // It may come later, and then all is well.
  const problem = await issuerProblem(provider.issuer, signal)
  if (problem !== undefined)
    log.warn(`--identity-provider: ${problem}; nobody can sign in until that is mended`)
  return {
    issuer: provider.issuer,
    clientId: provider.clientId,
    clientSecretFile,
    isPlainHttp: new URL(provider.issuer).protocol === 'http:',
    users: [],
  }
}
