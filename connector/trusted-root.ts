/**
 * Whose word a connector takes for what the registry says: the root that it was pinned to when it was enrolled, or, on
 * a bus without enrolment, the one that it was given with the bus. Without any it does not start.
 */

import type { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isRoot, readChain } from '#infra/certificates.ts'
import { ConfigurationError } from '#infra/config.ts'

/** @throws ConfigurationError that says what is missing. */
export async function readTrustedRoot(path: string | undefined): Promise<X509Certificate> {
  if (path === undefined) {
    throw new ConfigurationError(
      "SALLYPORT_BUS_CA_PATH: is required by a connector that was not enrolled; name the authority's root.pem",
    )
  }
  const pem = await readFile(path, 'utf8').catch(error => {
    throw new ConfigurationError(`${path}: cannot be read (${error.code})`)
  })
  const root = readChain(pem).find(isRoot)
  if (root) return root
  throw new ConfigurationError(`${path}: holds no root certificate`)
}
