/**
 * The domain that the Kerberos tests share, started once per run: a domain controller with users and accounts for
 * connectors, and an application with integrated Windows authentication in front of the usual test origin. Where the
 * programs are missing the tests are skipped, but with CI set that is an error.
 */

import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import {
  type Account,
  activeDirectoryFiles,
  keytabOf,
  startActiveDirectory,
} from './active-directory.ts'
import {
  integratedWindowsFiles,
  startIntegratedWindowsApplication,
} from './integrated-windows-application.ts'
import { startOrigin } from './origin.ts'
import { missingOf } from './programs.ts'

export interface Domain {
  readonly folder: string
  readonly realm: string
  readonly kdcPort: number
  readonly krb5Config: string
  readonly applicationUrl: string
  /** Where the application's keytab is, for one more of them. */
  readonly applicationKeytab: string
  /** The origin behind it, reached without a ticket. */
  readonly originUrl: string
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Null where the programs are missing. */
    domain: Domain | null
  }
}

export const realm = 'AD.SALLYPORT.TEST'
export const spn = 'HTTP/intranet.ad.sallyport.test'

const accounts: readonly Account[] = [
  { name: 'alice', upn: 'alice@sallyport.example' },
  { name: 'bob', upn: 'bob@sallyport.example' },
  { name: 'carol', upn: 'carol@sallyport.example', isSensitive: true },
  { name: 'dave', upn: 'dave@sallyport.example', isDisabled: true },
  { name: 'erin', upn: 'erin@sallyport.example' },
  { name: 'svc-web', spns: [spn], hasKeytab: true },
  { name: 'svc-other', spns: ['HTTP/other.ad.sallyport.test'] },
  {
    name: 'svc-connector',
    spns: ['sallyport/connector1'],
    delegatesTo: [spn],
    anyProtocol: true,
    hasKeytab: true,
  },
  {
    name: 'svc-kerberos-only',
    spns: ['sallyport/connector2'],
    delegatesTo: [spn],
    hasKeytab: true,
  },
  { name: 'svc-no-spn', delegatesTo: [spn], anyProtocol: true, hasKeytab: true },
]

const running = new AsyncDisposableStack()

export async function setup(project: TestProject): Promise<void> {
  const missing = missingOf(...activeDirectoryFiles, ...integratedWindowsFiles)
  if (missing.length > 0 || process.getuid?.() !== 0) {
    const why = missing.length > 0 ? `${missing.join(', ')} not here` : 'not root'
    process.stderr.write(`no domain controller (${why}): the Kerberos tests are skipped\n`)
    project.provide('domain', null)
    return
  }
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-domain-'))
  running.defer(() => rm(folder, { recursive: true, force: true }))
  // Apache serves as nobody, and has its keytab below.
  await chmod(folder, 0o711)
  const directory = running.use(await startActiveDirectory({ folder, realm, accounts }))
  const origin = running.use(await startOrigin())
  const application = running.use(
    await startIntegratedWindowsApplication({
      folder: join(folder, 'web'),
      keytab: keytabOf(folder, 'svc-web'),
      krb5Config: directory.krb5Config,
      origin: origin.url,
    }),
  )
  project.provide('domain', {
    folder,
    realm,
    kdcPort: directory.port,
    krb5Config: directory.krb5Config,
    applicationUrl: application.url,
    applicationKeytab: keytabOf(folder, 'svc-web'),
    originUrl: origin.url,
  })
}

export async function teardown(): Promise<void> {
  await running.disposeAsync()
}
