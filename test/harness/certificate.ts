/** Certificates that sign themselves, made by the openssl command into a folder of their own. */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Environment } from '#infra/config.ts'

export interface TestCertificate extends AsyncDisposable {
  readonly certificatePath: string
  readonly keyPath: string
  /** Both as PEM; the certificate is its own authority. */
  readonly cert: string
  readonly key: string
  /** Has a gateway listen with it. */
  readonly environment: Environment
  /** Another key and certificate for the same names, in the same files. */
  renew(): Promise<void>
}

const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']

export async function createCertificate(names = localNames): Promise<TestCertificate> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-certificate-'))
  const [certificatePath, keyPath] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
  const subject = ['-nodes', '-days', '2', '-subj', '/CN=test', '-addext']
  const made = { cert: '', key: '' }
  const renew = async () => {
    const files = ['-keyout', keyPath, '-out', certificatePath]
    const alternatives = `subjectAltName=${names.join(',')}`
    await promisify(execFile)('openssl', [...request, ...subject, alternatives, ...files])
    made.cert = await readFile(certificatePath, 'utf8')
    made.key = await readFile(keyPath, 'utf8')
  }
  await renew()
  return {
    certificatePath,
    keyPath,
    get cert() {
      return made.cert
    },
    get key() {
      return made.key
    },
    environment: {
      SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH: certificatePath,
      SALLYPORT_GATEWAY_TLS_KEY_PATH: keyPath,
    },
    renew,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

const localNames = ['DNS:*.sallyport.localhost', 'DNS:localhost', 'IP:127.0.0.1']
