/**
 * Grant controls: block, a second factor, an authentication strength, a compliant or domain-joined device. AND wants all
 * of them, OR any. One that the user can satisfy by signing in better is a challenge, the others block.
 */

import type { GrantControls } from '#infra/contracts/conditional-access/controls.ts'
import { isProved } from '#infra/contracts/conditional-access/strengths.ts'
import type { Challenge } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'
import type { SignIn } from '../conditions/condition.ts'
import { isCompliant, isDomainJoined } from '../conditions/devices.ts'
import { bothChallenges, type ControlVerdict, lasting } from './control.ts'

/** The authentication context class references that stand for a second factor, best first. */
export interface MultifactorContexts {
  readonly acrValues: readonly string[]
}

type Control = (signIn: SignIn) => ControlVerdict

/** OpenID's contexts for methods that cannot be phished (EAP ACR values 1.0). */
const phishingResistantContexts = ['phrh', 'phr']

export function compileGrant(
  controls: GrantControls | null,
  { acrValues }: MultifactorContexts,
): Control {
  if (!controls) return () => nothing
  const { operator, builtInControls, authenticationStrength: strength } = controls
  const each: Control[] = builtInControls.map(name => builtIn(name, acrValues))
  if (strength) each.push(strengthControl(strength.allowedCombinations, acrValues))
  const [only = () => nothing] = each
  if (each.length <= 1) return only
  const combine = operator === 'AND' ? all : anyOf
  return signIn => combine(each.map(control => control(signIn)))
}

const blocked: ControlVerdict = { isSatisfied: false, reasons: ['policy-blocks'], ...lasting }
const nothing: ControlVerdict = { isSatisfied: true, reasons: [], ...lasting }

function builtIn(
  name: GrantControls['builtInControls'][number],
  acrValues: readonly string[],
): Control {
  switch (name) {
    case 'block':
      return () => blocked
    case 'mfa':
      return either(({ authentication }) => authentication?.isMultifactor, {
        satisfied: 'multifactor-ok',
        missing: 'multifactor-required',
        remedy: { acrValues: [...acrValues] },
      })
    case 'compliantDevice':
      return either(({ device }) => device && isCompliant(device), {
        satisfied: 'device-compliant',
        missing: 'compliant-device-required',
      })
    case 'domainJoinedDevice':
      return either(({ device }) => device && isDomainJoined(device), {
        satisfied: 'device-domain-joined',
        missing: 'domain-joined-device-required',
      })
  }
}

interface Words {
  satisfied: DecisionReason
  missing: DecisionReason
  remedy?: Challenge
}

/** What cannot be told is not satisfied. */
function either(
  isSatisfied: (signIn: SignIn) => boolean | undefined,
  { satisfied, missing, remedy }: Words,
): Control {
  const yes: ControlVerdict = { isSatisfied: true, reasons: [satisfied], ...lasting }
  const no: ControlVerdict = {
    isSatisfied: false,
    reasons: [missing],
    ...(remedy && { remedy }),
    ...lasting,
  }
  return signIn => (isSatisfied(signIn) === true ? yes : no)
}

function strengthControl(combinations: readonly string[], multifactor: readonly string[]): Control {
  const acrValues = [...new Set([...phishingResistantContexts, ...multifactor])]
  return either(
    ({ authentication }) => authentication && isProved(combinations, authentication.words),
    {
      satisfied: 'authentication-strength-ok',
      missing: 'authentication-strength-required',
      remedy: { acrValues },
    },
  )
}

function all(verdicts: readonly ControlVerdict[]): ControlVerdict {
  const missing = verdicts.filter(({ isSatisfied }) => !isSatisfied)
  if (missing.length === 0) {
    return { isSatisfied: true, reasons: verdicts.flatMap(({ reasons }) => reasons), ...lasting }
  }
  const reasons = missing.flatMap(verdict => verdict.reasons)
  const remedies = missing.flatMap(({ remedy }) => remedy ?? [])
  // What the user cannot help makes asking for the rest pointless.
  if (remedies.length < missing.length) return { isSatisfied: false, reasons, ...lasting }
  return { isSatisfied: false, reasons, remedy: remedies.reduce(bothChallenges), ...lasting }
}

function anyOf(verdicts: readonly ControlVerdict[]): ControlVerdict {
  const satisfied = verdicts.find(({ isSatisfied }) => isSatisfied)
  if (satisfied) return satisfied
  const reasons = verdicts.flatMap(verdict => verdict.reasons)
  const remedy = verdicts.find(verdict => verdict.remedy)?.remedy
  return { isSatisfied: false, reasons, ...(remedy && { remedy }), ...lasting }
}
