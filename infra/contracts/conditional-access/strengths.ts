/**
 * Authentication strengths: combinations of Graph's authenticationMethodModes, and the words in an ID token that prove
 * each method (`amr`, RFC 8176, and `acr`). A method that no token can prove is never proved.
 */

import { z } from 'zod'

type Words = readonly string[]

/** For each method the ways to prove it: all words of one of them. */
const evidence = {
  password: [['pwd']],
  sms: [['sms']],
  voice: [['tel']],
  email: [],
  softwareOath: [['otp']],
  hardwareOath: [['otp', 'hwk']],
  microsoftAuthenticatorPush: [['mca'], ['swk', 'user']],
  deviceBasedPush: [
    ['mca', 'swk'],
    ['swk', 'pin'],
    ['swk', 'bio'],
  ],
  windowsHelloForBusiness: [
    ['hwk', 'pin'],
    ['hwk', 'bio'],
    ['hwk', 'fpt'],
    ['hwk', 'face'],
  ],
  fido2: [['fido'], ['phr'], ['phrh']],
  x509CertificateSingleFactor: [['sc'], ['x509']],
  x509CertificateMultiFactor: [
    ['sc', 'mfa'],
    ['sc', 'pin'],
    ['x509', 'mfa'],
  ],
  federatedSingleFactor: [['pwd']],
  federatedMultiFactor: [['mfa']],
  temporaryAccessPassOneTime: [],
  temporaryAccessPassMultiUse: [],
  hardwareOathMultiFactor: [['otp', 'hwk', 'pin']],
  qrCodePin: [],
} as const satisfies Record<string, readonly Words[]>
export type Method = keyof typeof evidence

function isMethod(name: string): name is Method {
  return Object.hasOwn(evidence, name)
}

/** Methods with commas between them: all of them together. */
export const Combination = z
  .string()
  .transform(text => text.split(',').map(name => name.trim()))
  .refine(names => names.every(isMethod), {
    error: `must be methods with commas between them, each one of ${Object.keys(evidence).join(', ')}`,
  })
  .transform(names => names.join(','))

const phishingResistant = ['windowsHelloForBusiness', 'fido2', 'x509CertificateMultiFactor']
const passwordless = [...phishingResistant, 'deviceBasedPush']

const multifactor = [
  ...passwordless,
  'temporaryAccessPassOneTime',
  'temporaryAccessPassMultiUse',
  'password,microsoftAuthenticatorPush',
  'password,softwareOath',
  'password,hardwareOath',
  'password,x509CertificateSingleFactor',
  'password,x509CertificateMultiFactor',
  'password,sms',
  'password,voice',
  'federatedMultiFactor',
  'microsoftAuthenticatorPush,federatedSingleFactor',
  'softwareOath,federatedSingleFactor',
  'hardwareOath,federatedSingleFactor',
  'sms,federatedSingleFactor',
  'voice,federatedSingleFactor',
]

/** Entra's own strengths have these ids in every tenant. */
const builtIn: ReadonlyMap<string, Words> = new Map([
  ['00000000-0000-0000-0000-000000000002', multifactor],
  ['00000000-0000-0000-0000-000000000003', passwordless],
  ['00000000-0000-0000-0000-000000000004', phishingResistant],
])

export function allowedCombinationsOf(id: string | null | undefined): string[] | undefined {
  const combinations = builtIn.get(id ?? '')
  return combinations && [...combinations]
}

/** Whether the words of a token prove one of the combinations. */
export function isProved(combinations: readonly string[], words: ReadonlySet<string>): boolean {
  return combinations.some(combination =>
    combination
      .split(',')
      .every(
        method => isMethod(method) && evidence[method].some(way => way.every(w => words.has(w))),
      ),
  )
}
