/**
 * Session controls: how long ago the user may have signed in. The age is that of the real authentication, as the
 * provider says, so a session of ours that is handed on does not make it younger.
 */

import type {
  SessionControls,
  SignInFrequency,
} from '#infra/contracts/conditional-access/controls.ts'
import type { SignIn } from '../conditions/condition.ts'
import { type ControlVerdict, lasting } from './control.ts'

const secondMs = 1_000
const hourMs = 3_600_000

/** "Every time", as in Entra: a sign-in counts for five minutes, so that nobody is asked twice for one page. */
const everyTimeMs = 5 * 60_000

/** Clocks of providers may be a little ahead of ours. */
const toleranceMs = 60_000

/** Undefined when nothing is asked of the session. */
export function compileSession(
  controls: SessionControls | null,
): ((signIn: SignIn) => ControlVerdict) | undefined {
  const lifetimeMs = frequencyMs(controls?.signInFrequency ?? null)
  if (lifetimeMs === undefined) return undefined
  const maxAgeSeconds = Math.floor(lifetimeMs / secondMs)
  return ({ authentication, nowMs }) => {
    const timeMs = authentication?.timeMs ?? Number.NEGATIVE_INFINITY
    const validUntilMs = timeMs + lifetimeMs
    // Written so that a time that is not a number does not count.
    const isRecent = nowMs < validUntilMs && timeMs <= nowMs + toleranceMs
    return isRecent
      ? { isSatisfied: true, reasons: ['sign-in-recent'], validUntilMs }
      : {
          isSatisfied: false,
          reasons: ['sign-in-too-old'],
          remedy: { acrValues: [], maxAgeSeconds },
          ...lasting,
        }
  }
}

function frequencyMs(frequency: SignInFrequency | null): number | undefined {
  if (!frequency?.isEnabled) return undefined
  const { frequencyInterval, type, value } = frequency
  if (frequencyInterval === 'everyTime') return everyTimeMs
  return (value ?? 0) * (type === 'days' ? 24 * hourMs : hourMs)
}
