/**
 * Where a connector keeps who it is: its key, its certificate with the chain, the root that it trusts, and where it
 * belongs. Readable by its owner alone; at every moment a key and a certificate that belong together, also when the
 * power fails or the disk is full in the middle of a renewal.
 *
 *   key.pem           the key of the certificate          next-key.pem      a key that has no certificate yet
 *   certificate.pem   the chain, from its own to the root  authority.pem     the root that was pinned
 *   connector.json    id, group, where the bus is, where to enrol
 *
 * A new pair begins as next-key.pem, counts from the moment when its certificate.pem is there, and then next-key.pem
 * becomes key.pem. Whoever reads takes the key that belongs to the certificate.
 */

import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  type X509Certificate,
} from 'node:crypto'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { ClientIdentity } from '#infra/bus-connection.ts'
import { connectorIn, isRoot, readChain, trustDomainOf } from '#infra/certificates.ts'
import { ConfigurationError, type Environment } from '#infra/config.ts'
import { Standing } from '#infra/contracts/enrolment.ts'
import { createFile, createFolder, readIfThere, replaceFile } from '#infra/files.ts'
import { chainPem, createKey, keyPem } from '#infra/pki.ts'

const Place = Standing.pick({ connectorId: true, connectorGroupId: true, busUrls: true }).extend({
  enrolUrl: z.url(),
})
export type Place = z.output<typeof Place>

export interface Identity extends Place {
  readonly key: KeyObject
  /** Its own first, up to the root. */
  readonly chain: readonly X509Certificate[]
  readonly certificate: X509Certificate
  readonly root: X509Certificate
}

export interface NewIdentity extends Place {
  chain: readonly X509Certificate[]
  root: X509Certificate
}

/** Next to the data of other programs; systemd gives a service its own folder. */
export function identityPathOf(environment: Environment): string {
  const {
    SALLYPORT_CONNECTOR_IDENTITY_PATH: given,
    STATE_DIRECTORY: ofService,
    XDG_STATE_HOME: ofUser,
    HOME: home,
  } = environment
  if (given) return given
  if (ofService) return ofService.split(':')[0] as string
  if (ofUser) return join(ofUser, 'sallyport-connector')
  if (home) return join(home, '.local', 'state', 'sallyport-connector')
  throw new ConfigurationError(
    'SALLYPORT_CONNECTOR_IDENTITY_PATH: is required, since there is neither STATE_DIRECTORY nor HOME',
  )
}

export class IdentityFolder {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Undefined when there is none. @throws ConfigurationError when what is there cannot be used. */
  async read(): Promise<Identity | undefined> {
    const certificate = await readIfThere(this.#file('certificate.pem')).catch(this.#unreadable)
    if (certificate === undefined) return undefined
    try {
      return await this.#readWith(certificate)
    } catch (error) {
      return this.#unreadable(error)
    }
  }

  async #readWith(certificatePem: string): Promise<Identity> {
    const chain = readChain(certificatePem)
    const certificate = chain[0] as X509Certificate
    const [root] = readChain(await this.#required('authority.pem'))
    if (!root || !isRoot(root)) throw new Error('authority.pem is not a root certificate')
    const place = Place.parse(JSON.parse(await this.#required('connector.json')))
    if (connectorIn(certificate, trustDomainOf(root)) !== place.connectorId)
      throw new Error('certificate.pem and connector.json name different connectors')
    return { ...place, key: await this.#keyOf(certificate), chain, certificate, root }
  }

  async #keyOf(certificate: X509Certificate): Promise<KeyObject> {
    for (const name of ['key.pem', 'next-key.pem']) {
      const pem = await readIfThere(this.#file(name))
      const key = pem === undefined ? undefined : createPrivateKey(pem)
      if (key && createPublicKey(key).equals(certificate.publicKey)) return key
    }
    throw new Error('there is no key that belongs to certificate.pem')
  }

  /** The key of the next certificate: made and kept before anybody is asked for a certificate. */
  async nextKey(): Promise<KeyObject> {
    await createFolder(this.path).catch(cause => {
      if (isForbidden(cause)) throw cause
      const reason = `${this.path} cannot be created (${cause.code}); name another folder`
      throw new ConfigurationError(`SALLYPORT_CONNECTOR_IDENTITY_PATH: ${reason}`, { cause })
    })
    const path = this.#file('next-key.pem')
    const known = (await readIfThere(path)) ?? (await createFile(path, keyPem(createKey())))
    return createPrivateKey(known)
  }

  /** Takes a certificate for the next key. What fails leaves the identity as it was. */
  async accept({ chain, root, ...place }: NewIdentity): Promise<void> {
    const text = `${JSON.stringify(Place.parse(place), null, 2)}\n`
    await replaceFile(this.#file('authority.pem'), chainPem([root]))
    await replaceFile(this.#file('connector.json'), text)
    await replaceFile(this.#file('certificate.pem'), chainPem(chain))
    await rename(this.#file('next-key.pem'), this.#file('key.pem'))
  }

  /** What the bus is dialled with: read anew at each dial. */
  async forBus(): Promise<ClientIdentity> {
    const identity = await this.read()
    if (!identity) throw new Error(`the identity in ${this.path} is gone`)
    return {
      key: keyPem(identity.key),
      certificate: chainPem(identity.chain),
      authority: chainPem([identity.root]),
    }
  }

  #file(name: string): string {
    return join(this.path, name)
  }

  async #required(name: string): Promise<string> {
    const content = await readIfThere(this.#file(name))
    if (content === undefined) throw new Error(`${name} is missing`)
    return content
  }

  readonly #unreadable = (cause: unknown): never => {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message
    const fix = isForbidden(cause)
      ? 'start the connector as the user whom the folder belongs to'
      : 'move the folder away and enrol the connector again'
    throw new ConfigurationError(
      `${this.path}: the identity of the connector cannot be used (${reason}); ${fix}`,
      { cause },
    )
  }
}

const forbidden = new Set(['EACCES', 'EPERM', 'EROFS'])

/** The operating system does not let this user read or write there. */
export function isForbidden(error: unknown): error is NodeJS.ErrnoException {
  return forbidden.has((error as NodeJS.ErrnoException).code ?? '')
}
