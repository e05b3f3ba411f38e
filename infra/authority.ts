/**
 * The certificate authority of an installation, as a folder of files: what is missing or near its end is made, what is
 * there is kept. Keys are never replaced, certificates are, so pins and trust anchors outlive renewals. The root's key
 * may be taken away (or an administrator's own root put there before): what the intermediates can do goes on working.
 *
 *   root.pem root-key.pem               the anchor that connectors are pinned to; 20 years
 *   connectors.pem connectors-key.pem   intermediate: connectors' client certificates, and alone their anchor; 10 years
 *   services.pem services-key.pem       intermediate: the bus's servers and the registry's signatures; 10 years
 *   bus.pem bus-key.pem                 server certificate of the bus with its chain; 2 years
 *   registry.pem registry-key.pem       signing certificate of the registry with its chain; 2 years
 */

import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  type X509Certificate,
} from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { checkChain, isRoot, pinOf, readChain, trustDomainOf } from './certificates.ts'
import { ConfigurationError } from './config.ts'
import { detailOf } from './errors.ts'
import { createFile, createFolder, readIfThere, replaceFile } from './files.ts'
import {
  chainPem,
  createIntermediate,
  createKey,
  createRegistryCertificate,
  createRoot,
  createServerCertificate,
  type Issuer,
  keyPem,
} from './pki.ts'

export interface Authority {
  readonly root: X509Certificate
  /** Base64url SHA-256 of the root's public key. */
  readonly pin: string
  readonly trustDomain: string
  /** Issues connectors' certificates. */
  readonly connectors: Issuer
  /** Signs what the registry tells connectors: the key, and its chain without the root. */
  readonly registry: { readonly key: KeyObject; readonly chain: readonly X509Certificate[] }
  /** When the first of its certificates ends: before that it has to be opened once more, with the keys to renew them. */
  readonly endsAtMs: number
}

export interface AuthorityOptions {
  /** DNS names and addresses of the bus. Left out: the bus's certificate is not made here. */
  busNames?: readonly string[]
  nowMs?: number
}

const days = { root: 7_300, intermediate: 3_650, end: 730 }

/**
 * Opens the authority in a folder, and makes what is missing of it.
 * @throws ConfigurationError that names the file when something cannot be used or made.
 */
export async function keepAuthority(
  folder: string,
  { busNames, nowMs = Date.now() }: AuthorityOptions = {},
): Promise<Authority> {
  await createFolder(folder).catch(cause => {
    throw unusable(folder, cause)
  })
  const files = new AuthorityFiles(folder, nowMs)
  const root = await files.root()
  const trustDomain = trustDomainOf(root.certificate)
  const connectors = await files.intermediate('connectors', root)
  if (connectors.key === undefined) throw files.missing('connectors-key.pem')
  if (busNames) await files.bus(root, busNames)
  const registry = await files.registry(root, trustDomain)
  const all = [root.certificate, connectors.certificate, ...registry.chain]
  return {
    root: root.certificate,
    pin: pinOf(root.certificate),
    trustDomain,
    connectors: { certificate: connectors.certificate, key: connectors.key },
    registry,
    endsAtMs: Math.min(...all.map(({ validToDate }) => validToDate.getTime())),
  }
}

/** An issuer whose key may have been taken away. */
type Kept = Omit<Issuer, 'key'> & { readonly key: KeyObject | undefined }

/** `client` for services too: the nodes of a bus come to each other with the certificate that they serve with. */
const purposes = { connectors: ['client'], services: ['server', 'client', 'signing'] } as const

interface Making {
  /** Of the file, without its ending. */
  name: string
  key: KeyObject | undefined
  /** Whether what is there is what is wanted, its end in time left aside. */
  isGood: (chain: readonly X509Certificate[]) => boolean
  issuer: Kept
  issuerName: string
  make: (issuer: Issuer) => Promise<readonly X509Certificate[]>
}

class AuthorityFiles {
  readonly #folder: string
  readonly #nowMs: number

  constructor(folder: string, nowMs: number) {
    this.#folder = folder
    this.#nowMs = nowMs
  }

  async root(): Promise<Kept> {
    const [certificate] = (await this.#chain('root')) ?? []
    if (!certificate) {
      const key = await this.#ownKey('root')
      const made = await createRoot({ name: 'Sallyport root', key, ...this.#lifetime(days.root) })
      await this.#write('root', [made.certificate])
      return made
    }
    if (!isRoot(certificate)) {
      const fix = 'put one there that signs itself and may sign intermediates'
      throw new ConfigurationError(`${this.#path('root.pem')}: is not a root certificate; ${fix}`)
    }
    return { certificate, key: await this.#key('root') }
  }

  async intermediate(name: keyof typeof purposes, root: Kept): Promise<Kept> {
    const isThere = (await this.#chain(name)) !== undefined
    const key = isThere ? await this.#key(name) : await this.#ownKey(name)
    const [certificate] = await this.#keep({
      name,
      key,
      issuer: root,
      issuerName: 'root',
      isGood: ([present]) => present?.verify(root.certificate.publicKey) === true,
      make: async issuer => {
        if (!key) throw this.missing(`${name}-key.pem`)
        const request = { name: `Sallyport ${name}`, key, purposes: purposes[name] }
        const made = await createIntermediate(issuer, {
          ...request,
          ...this.#lifetime(days.intermediate),
        })
        return [made.certificate]
      },
    })
    return { certificate: certificate as X509Certificate, key }
  }

  async bus(root: Kept, names: readonly string[]): Promise<void> {
    const key = await this.#ownKey('bus')
    await this.#keep({
      ...(await this.#underServices(root)),
      name: 'bus',
      key,
      isGood: chain =>
        this.#leadsTo(root, chain, 'server') && names.every(name => isNamed(chain[0], name)),
      make: async issuer => {
        const lifetime = this.#lifetime(days.end)
        const certificate = await createServerCertificate(issuer, { key, names, ...lifetime })
        return [certificate, issuer.certificate]
      },
    })
  }

  async registry(root: Kept, trustDomain: string): Promise<Authority['registry']> {
    const key = await this.#ownKey('registry')
    const chain = await this.#keep({
      ...(await this.#underServices(root)),
      name: 'registry',
      key,
      isGood: present => this.#leadsTo(root, present, 'signing'),
      make: async issuer => {
        const lifetime = this.#lifetime(days.end)
        const request = { key, trustDomain, ...lifetime }
        return [await createRegistryCertificate(issuer, request), issuer.certificate]
      },
    })
    return { key, chain }
  }

  missing(name: string): ConfigurationError {
    return new ConfigurationError(
      `${this.#path(name)}: is missing; put it back for as long as something must be made with it`,
    )
  }

  async #underServices(root: Kept): Promise<Pick<Making, 'issuer' | 'issuerName'>> {
    return { issuer: await this.intermediate('services', root), issuerName: 'services' }
  }

  /** The chain that is there, or a new one when it is not good, or when a third of its time is left and it can be made. */
  async #keep({ name, key, isGood, issuer, issuerName, make }: Making) {
    const present = await this.#chain(name)
    const [first] = present ?? []
    const isUsable = present && first && (!key || belongs(key, first)) && isGood(present)
    if (isUsable && this.#nowMs < first.validToDate.getTime()) {
      const isDue = this.#nowMs > twoThirdsOf(first)
      if (!isDue || !issuer.key) return present
    }
    if (!issuer.key) throw this.missing(`${issuerName}-key.pem`)
    const made = await make({ certificate: issuer.certificate, key: issuer.key })
    await this.#write(name, made)
    return made
  }

  #leadsTo(root: Kept, chain: readonly X509Certificate[], purpose: 'server' | 'signing'): boolean {
    try {
      checkChain({ chain, anchor: root.certificate, purpose, nowMs: this.#nowMs })
      return true
    } catch {
      return false
    }
  }

  #lifetime(daysLong: number) {
    return { days: daysLong, nowMs: this.#nowMs }
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }

  async #chain(name: string): Promise<X509Certificate[] | undefined> {
    const path = this.#path(`${name}.pem`)
    const pem = await read(path)
    if (pem === undefined) return undefined
    try {
      return readChain(pem)
    } catch (error) {
      throw unusable(path, error)
    }
  }

  async #write(name: string, chain: readonly X509Certificate[]): Promise<void> {
    await replaceFile(this.#path(`${name}.pem`), chainPem(chain))
  }

  async #key(name: string): Promise<KeyObject | undefined> {
    const path = this.#path(`${name}-key.pem`)
    const pem = await read(path)
    return pem === undefined ? undefined : keyOf(path, pem)
  }

  /** Made when it is missing. */
  async #ownKey(name: string): Promise<KeyObject> {
    const path = this.#path(`${name}-key.pem`)
    return keyOf(path, (await read(path)) ?? (await createFile(path, keyPem(createKey()))))
  }
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readIfThere(path)
  } catch (error) {
    throw unusable(path, error)
  }
}

function keyOf(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    throw unusable(path, error)
  }
}

function unusable(path: string, cause: unknown): ConfigurationError {
  const reason = detailOf(cause)
  return new ConfigurationError(`${path}: cannot be used (${reason})`, { cause })
}

function belongs(key: KeyObject, certificate: X509Certificate): boolean {
  return createPublicKey(key).equals(certificate.publicKey)
}

function isNamed(certificate: X509Certificate | undefined, name: string): boolean {
  const found = isIP(name) ? certificate?.checkIP(name) : certificate?.checkHost(name)
  return found !== undefined
}

function twoThirdsOf({ validFromDate, validToDate }: X509Certificate): number {
  const from = validFromDate.getTime()
  return from + ((validToDate.getTime() - from) * 2) / 3
}
