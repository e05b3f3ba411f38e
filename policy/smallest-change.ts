/**
 * The smallest change that would have let a refused sign-in through: the evaluator is run again with one thing changed
 * at a time, what the user can do first, and then with pairs. Only what the policies at hand look at is tried.
 */

import type { CompiledPolicy } from './compiled-policy.ts'
import { applies } from './compiled-policy.ts'
import type { ConditionalAccess } from './conditional-access.ts'
import type { SignIn } from './conditions/condition.ts'
import { plainSignIn } from './observed-sign-in.ts'

interface Change {
  readonly says: string
  readonly apply: (signIn: SignIn) => SignIn
}

/** Pairs are tried among so many changes. */
const maxPaired = 14
const maxNamed = 5

/** What to do, in plain words; undefined when no one or two changes would do. */
export function smallestChange(access: ConditionalAccess, refused: SignIn): string[] | undefined {
  const signIn = plainSignIn(refused)
  const isGranted = (changes: readonly Change[]) =>
    access.evaluate(changes.reduce((before, { apply }) => apply(before), signIn)).outcome ===
    'grant'
  const changes = changesOf(access, signIn)
  const single = changes.find(change => isGranted([change]))
  if (single) return [single.says]
  const few = changes.slice(0, maxPaired)
  for (const [index, one] of few.entries()) {
    const other = few.slice(index + 1).find(change => isGranted([one, change]))
    if (other) return [one.says, other.says]
  }
  return undefined
}

function changesOf({ policies }: ConditionalAccess, signIn: SignIn): Change[] {
  const refusing = policies.filter(
    compiled =>
      compiled.isEnforced && applies(compiled, signIn) && !compiled.check(signIn).isSatisfied,
  )
  return [...signingInBetter(signIn), ...fromElsewhere(refusing), ...beingSomebodyElse(refusing)]
}

function signingInBetter({ nowMs }: SignIn): Change[] {
  const authenticating = (words: readonly string[]) => (before: SignIn) => ({
    ...before,
    authentication: {
      words: new Set([...(before.authentication?.words ?? []), ...words]),
      isMultifactor: true,
      timeMs: before.authentication?.timeMs ?? nowMs,
    },
  })
  return [
    { says: 'sign in with a second factor', apply: authenticating(['mfa', 'otp']) },
    {
      says: 'sign in again',
      apply: before => ({
        ...before,
        authentication: {
          words: before.authentication?.words ?? new Set(),
          isMultifactor: before.authentication?.isMultifactor ?? false,
          timeMs: nowMs,
        },
      }),
    },
    {
      says: 'sign in with a method that cannot be phished, such as a security key',
      apply: authenticating(['mfa', 'fido', 'phr', 'phrh']),
    },
  ]
}

const clientAppTypes = ['browser', 'mobileAppsAndDesktopClients', 'other'] as const
const platforms = ['windows', 'macOS', 'linux', 'iOS', 'android'] as const

function fromElsewhere(refusing: readonly CompiledPolicy[]): Change[] {
  const looksAt = (analysis: string) =>
    refusing.some(({ tests }) => tests.some(({ condition }) => condition.analysis === analysis))
  const wantsDevice = refusing.some(({ policy }) =>
    policy.grantControls?.builtInControls.some(control => control.endsWith('Device')),
  )
  return [
    ...(looksAt('location') ? locationChanges(refusing) : []),
    ...(wantsDevice || looksAt('devices') ? deviceChanges : []),
    ...(looksAt('clientApps') ? clientAppTypes.map(useClient) : []),
    ...(looksAt('devicePlatform') ? platforms.map(usePlatform) : []),
    ...(looksAt('userRisk') ? [withoutUserRisk] : []),
    ...(looksAt('signInRisk') ? [withoutSignInRisk] : []),
    ...factChanges(refusing),
    ...(refusing.some(({ isForUnsafeMethods }) => isForUnsafeMethods) ? [onlyRead] : []),
  ]
}

function locationChanges(refusing: readonly CompiledPolicy[]): Change[] {
  const named = refusing.flatMap(
    ({ policy }) => policy.conditions.locations?.excludeLocations ?? [],
  )
  const places = [...new Set(named.filter(id => id.toLowerCase() !== 'alltrusted'))]
  return [
    {
      says: 'come from a trusted location',
      apply: before => ({ ...before, place: { isTrusted: true, isAt: () => false } }),
    },
    ...places.slice(0, maxNamed).map(id => ({
      says: `come from the named location ${id}`,
      apply: (before: SignIn) => ({
        ...before,
        place: { isTrusted: false, isAt: (other: string) => other === id },
      }),
    })),
    {
      says: 'come from a location that no policy names',
      apply: before => ({ ...before, place: { isTrusted: false, isAt: () => false } }),
    },
  ]
}

const deviceChanges: readonly Change[] = [
  {
    says: 'use a compliant device',
    apply: before => ({ ...before, device: { ...before.device, isCompliant: true } }),
  },
  {
    says: "use a device that is joined to the organisation's domain",
    apply: before => ({ ...before, device: { ...before.device, trustType: 'ServerAD' } }),
  },
]

const useClient = (clientAppType: (typeof clientAppTypes)[number]): Change => ({
  says: clientAppType === 'browser' ? 'use a browser' : `use a client of type ${clientAppType}`,
  apply: before => ({ ...before, clientAppType }),
})

const usePlatform = (devicePlatform: (typeof platforms)[number]): Change => ({
  says: `use a device with ${devicePlatform}`,
  apply: before => ({ ...before, devicePlatform }),
})

const withoutUserRisk: Change = {
  says: 'have the risk of the user dismissed',
  apply: before => ({ ...before, userRisk: 'none' }),
}

const withoutSignInRisk: Change = {
  says: 'sign in anew without the risk of this sign-in',
  apply: before => ({ ...before, signInRisk: 'none' }),
}

const onlyRead: Change = {
  says: 'send requests that change nothing',
  apply: before => ({ ...before, methods: 'safe' }),
}

function factChanges(refusing: readonly CompiledPolicy[]): Change[] {
  const tests = refusing.flatMap(({ policy: { conditions } }) => {
    const { includeFacts = [], excludeFacts = [] } = conditions.facts ?? {}
    return [
      ...includeFacts.map(({ name }) => ({ name, value: undefined })),
      ...excludeFacts.map(({ name, value }) => ({ name, value })),
    ]
  })
  return tests.slice(0, maxNamed).map(({ name, value }) => ({
    says: value === undefined ? `end the fact ${name}` : `make the fact ${name} ${value}`,
    apply: (before: SignIn) => ({
      ...before,
      fact: (other: string) => (other === name ? value : before.fact(other)),
    }),
  }))
}

/** What an administrator can do without touching the policy. */
function beingSomebodyElse(refusing: readonly CompiledPolicy[]): Change[] {
  const groups = refusing.flatMap(({ policy }) => policy.conditions.users.excludeGroups)
  const names = [...new Set(groups)].slice(0, maxNamed)
  return names.map(group => ({
    says: `be a member of the group ${group}`,
    apply: before => ({
      ...before,
      user: { ...before.user, groups: new Set([...(before.user.groups ?? []), group]) },
    }),
  }))
}
