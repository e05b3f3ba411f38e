/** The options of `publish` that say how users are signed on to an application. What cannot be, the system refuses. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import { Principal } from '#infra/contracts/principal.ts'
import {
  type KerberosMapping,
  kerberosMappings,
  SingleSignOnSettings,
} from '#infra/contracts/sign-on.ts'
import { UsageError } from './failure.ts'

interface Header {
  readonly name: string
  readonly claim: string
  readonly transforms: readonly object[]
}

export interface SignOnOptions {
  signOn?: 'none' | 'kerberos' | 'headers' | 'assertion'
  spn?: string
  kerberosIdentity?: KerberosMapping
  rawKerberos?: true
  mutualAuthentication?: true
  signOnHeader?: Header[]
  assertion?: string | true
  assertionAudience?: string
  assertionAlgorithm?: 'EdDSA' | 'ES256'
}

export function withSignOn(command: Command): Command {
  const identity = new Option('--kerberos-identity <kind>', 'which name of the user is looked up')
  const algorithm = new Option('--assertion-algorithm <name>', 'EdDSA unless given')
  const mode = new Option(
    '--sign-on <mode>',
    'how users are signed on to it, if more than one fits',
  )
  return command
    .addOption(mode.choices(['none', 'kerberos', 'headers', 'assertion']))
    .option('--spn <name>', 'sign on by Kerberos, as in HTTP/intranet.corp.example')
    .addOption(identity.choices(kerberosMappings))
    .option('--raw-kerberos', 'without the envelope of SPNEGO')
    .option('--mutual-authentication', 'refuse answers without the proof of the application')
    .option(
      '--sign-on-header <name=claim>',
      'sign on by header, as in "X-User=userPrincipalName|lower|stripDomain" (repeatable)',
      header,
    )
    .option('--assertion [header]', 'sign on by a signed assertion (JWT) in this header')
    .option('--assertion-audience <text>', 'its audience; the id of the application unless given')
    .addOption(algorithm.choices(['EdDSA', 'ES256']))
}

const modes = {
  none: 'none',
  kerberos: 'onPremisesKerberos',
  headers: 'aadHeaderBased',
  assertion: 'signedAssertion',
} as const

/** Of onPremisesPublishing; undefined, and so no part of a JSON body, when nothing was said. */
export function signOnOf(options: SignOnOptions): object | undefined {
  const mode = options.signOn ?? modeOf(options)
  const settings = {
    kerberosSignOnSettings: kerberosOf(options),
    headerSignOnSettings: options.signOnHeader && { headers: options.signOnHeader },
    assertionSignOnSettings: assertionOf(options),
  }
  return mode && { singleSignOnMode: modes[mode], ...settings }
}

function modeOf({ spn, signOnHeader, assertion }: SignOnOptions): SignOnOptions['signOn'] {
  if (spn !== undefined) return 'kerberos'
  if (signOnHeader) return 'headers'
  return assertion === undefined ? undefined : 'assertion'
}

function kerberosOf(options: SignOnOptions): object | undefined {
  const { spn, kerberosIdentity, rawKerberos, mutualAuthentication } = options
  const details = { kerberosIdentity, rawKerberos, mutualAuthentication }
  if (spn === undefined && Object.values(details).some(value => value !== undefined))
    throw new UsageError('say which service principal name: --spn HTTP/intranet.corp.example')
  if (spn === undefined) return undefined
  return {
    kerberosServicePrincipalName: spn,
    kerberosSignOnMappingAttributeType: kerberosIdentity,
    kerberosTokenFormat: rawKerberos && 'kerberos',
    isMutualAuthenticationRequired: mutualAuthentication,
  }
}

function assertionOf(options: SignOnOptions): object | undefined {
  const { assertion, assertionAudience: audience, assertionAlgorithm: algorithm } = options
  if (assertion === undefined && (audience !== undefined || algorithm !== undefined))
    throw new UsageError('add --assertion')
  if (assertion === undefined) return undefined
  return { headerName: assertion === true ? undefined : assertion, audience, algorithm }
}

/** For the description of an application. */
export function signOnLines(settings: object | null | undefined): string[] {
  const { data } = SingleSignOnSettings.nullish().safeParse(settings)
  if (!data || data.singleSignOnMode === 'none') return []
  const { kerberosSignOnSettings: kerberos, headerSignOnSettings: headers } = data
  const { assertionSignOnSettings: assertion } = data
  const ways = [
    ...(kerberos ? [`Kerberos as ${kerberos.kerberosServicePrincipalName}`] : []),
    ...(headers ? [`headers ${headers.headers.map(headerText).join(', ')}`] : []),
    ...(assertion ? [`assertion in ${assertion.headerName}`] : []),
  ]
  return [`  sign-on          ${ways.join('; ')}`]
}

/** A claim that nobody has sends no header, and says nothing: it shows here. */
function headerText({ name, claim }: Pick<Header, 'name' | 'claim'>): string {
  const doubt = claim in Principal.shape ? '' : ', if SALLYPORT_POLICY_CLAIMS has it'
  return `${name} (${claim}${doubt})`
}

/** `X-Groups=groups|groupFilter:app-*,staff|join:;` */
function header(text: string, previous: Header[] = []): Header[] {
  const [, name, rest] = /^([^=]+)=(.+)$/s.exec(text) ?? []
  if (name === undefined || rest === undefined)
    throw new InvalidArgumentError('Write NAME=CLAIM, as in X-User=userPrincipalName.')
  const [claim = '', ...steps] = rest.split('|')
  return [...previous, { name, claim, transforms: steps.map(transform) }]
}

function transform(step: string): object {
  const at = step.indexOf(':')
  const [type, argument] = at < 0 ? [step, undefined] : [step.slice(0, at), step.slice(at + 1)]
  switch (type) {
    case 'lower':
    case 'stripDomain':
    case 'base64':
      return { type }
    case 'join':
      return { type, separator: argument }
    case 'groupFilter':
      return { type, groups: argument?.split(',') }
    case 'regex':
      return { type, pattern: argument }
    default:
      throw new InvalidArgumentError(
        `${type} is not known; there are lower, stripDomain, regex, groupFilter, join and base64.`,
      )
  }
}
