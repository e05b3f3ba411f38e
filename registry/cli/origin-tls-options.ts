/** The options of `publish` that say how an application's origin has to prove who it is. The system checks their values. */

import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { ApplicationView } from '../admin-api/views.ts'
import { UsageError } from './failure.ts'

export interface OriginTlsOptions {
  trustAnyOriginCertificate?: true
  verifyOriginCertificate?: true
  originCa?: string
  originServerName?: string
  originPin?: string[]
}

/** Takes back what was set. */
const none = 'default'

export function withOriginTls(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--trust-any-origin-certificate',
        'whoever answers at the internal URL is believed',
      ).conflicts('verifyOriginCertificate'),
    )
    .option('--verify-origin-certificate', 'takes that back')
    .option(
      '--origin-ca <file>',
      'PEM of authorities that vouch for it, in place of the public ones',
    )
    .option('--origin-server-name <name>', 'name that its certificate is for, if not the host')
    .option(
      '--origin-pin <sha256>',
      'of its certificate or public key, in hex or base64 (repeatable)',
      (value: string, before: string[] = []) => [...before, value],
    )
}

/** Properties of onPremisesPublishing; those that were not given are undefined, and so no part of a JSON body. */
export function originTlsOf(options: OriginTlsOptions, internalUrl: string) {
  if (!/^https:/i.test(internalUrl)) refuseFor(options)
  const { originCa, originServerName, originPin } = options
  return {
    isBackendCertificateValidationEnabled: options.trustAnyOriginCertificate
      ? false
      : options.verifyOriginCertificate,
    originCertificateAuthorities: originCa === undefined ? undefined : readBundle(originCa),
    originServerName: originServerName === none ? null : originServerName,
    originCertificatePins: originPin?.includes(none) ? null : originPin,
  }
}

/** Nobody proves anything over http://, and whoever set a pin would believe so. */
function refuseFor(options: OriginTlsOptions): void {
  const { originCa = none, originServerName = none, originPin = [none] } = options
  const given = [
    options.trustAnyOriginCertificate && '--trust-any-origin-certificate',
    options.verifyOriginCertificate && '--verify-origin-certificate',
    originCa !== none && '--origin-ca',
    originServerName !== none && '--origin-server-name',
    !originPin.includes(none) && '--origin-pin',
  ].find(Boolean)
  if (given) throw new UsageError(`${given} is for an internal URL that begins with https://`)
}

function readBundle(path: string): string | null {
  if (path === none) return null
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new UsageError(`--origin-ca: ${path} cannot be read (${code})`)
  }
}

type Publishing = NonNullable<ApplicationView['onPremisesPublishing']>

/** What is out of the ordinary, as `show` tells it. */
export function originTlsLines(publishing: Publishing): string[] {
  if (!publishing.internalUrl.startsWith('https:')) return []
  const { originServerName: name, originCertificatePins: pins } = publishing
  const isTrusted = !publishing.isBackendCertificateValidationEnabled && pins === null
  return [
    ...(isTrusted ? ['  CERTIFICATE      NOT VERIFIED: whoever answers is believed'] : []),
    ...(publishing.originCertificateAuthorities === null
      ? []
      : ['  certificate of   its own authorities']),
    ...(name === null ? [] : [`  certificate for  ${name}`]),
    ...(pins ?? []).map(pin => `  pinned           SHA-256 ${pin}`),
  ]
}
