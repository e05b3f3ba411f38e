/** The gateway's certificate and key from two PEM files, read again when they change: renewal needs no restart. */

import { X509Certificate } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { ConfigurationError } from '#infra/config.ts'
import type { Logger } from '#infra/log.ts'

export interface CertificateFiles {
  readonly certificatePath: string
  readonly keyPath: string
}

export interface CertificatePair {
  readonly cert: string
  readonly key: string
}

export interface Certificate extends Disposable {
  /** What was read last. */
  readonly current: CertificatePair
  /** Calls back with each new pair that fits together. */
  onChange(listener: (pair: CertificatePair) => void): void
}

/** Looked for by time and size, which also follows links that are turned, as Kubernetes does with secrets. */
const pollMs = 1_000

/** @throws ConfigurationError when the files cannot be read or do not fit together. */
export function readCertificate(files: CertificateFiles, log: Logger): Certificate {
  let pair = readPair(files)
  tellOf(pair, files, log)
  const listeners: ((pair: CertificatePair) => void)[] = []
  const reload = () => {
    try {
      const next = readPair(files)
      if (next.cert === pair.cert && next.key === pair.key) return
      pair = next
      for (const listener of listeners) listener(next)
      tellOf(next, files, log)
    } catch (error) {
      // Written one after the other, the two files do not fit for a moment.
      log.warn({ reason: (error as Error).message }, 'the certificate stays as it was')
    }
  }
  const paths = [files.certificatePath, files.keyPath]
  for (const path of paths) watchFile(path, { interval: pollMs, persistent: false }, reload)
  return {
    get current() {
      return pair
    },
    onChange: listener => void listeners.push(listener),
    [Symbol.dispose]() {
      for (const path of paths) unwatchFile(path, reload)
    },
  }
}

function tellOf({ cert }: CertificatePair, { certificatePath }: CertificateFiles, log: Logger) {
  const { subjectAltName, validTo } = new X509Certificate(cert)
  log.info({ certificate: certificatePath, names: subjectAltName, validTo }, 'certificate read')
}

function readPair({ certificatePath, keyPath }: CertificateFiles): CertificatePair {
  const pair = {
    cert: read('SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH', certificatePath),
    key: read('SALLYPORT_GATEWAY_TLS_KEY_PATH', keyPath),
  }
  try {
    createSecureContext(pair)
  } catch (cause) {
    const detail = (cause as Error).message
    throw new ConfigurationError(
      `SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH, SALLYPORT_GATEWAY_TLS_KEY_PATH: must be PEM files of a certificate and of its key without a passphrase (${detail})`,
      { cause },
    )
  }
  return pair
}

function read(variable: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ConfigurationError(`${variable}: ${path} cannot be read (${code})`, { cause })
  }
}
