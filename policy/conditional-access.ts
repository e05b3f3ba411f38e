/**
 * Conditional access: every enabled policy that applies must be satisfied; one that blocks wins; what the user can help
 * is a challenge. Policies that only report are evaluated the same way and change nothing. Pure over what it was given,
 * so the answer of a what-if is the answer of production.
 */

import type { ConditionalAccessPolicy } from '#infra/contracts/conditional-access/policy.ts'
import type { Challenge, ReportedVerdict, SessionDemands } from '#infra/contracts/policy.ts'
import type { DecisionReason } from '#infra/contracts/reasons.ts'
import { type CompiledPolicy, compilePolicy, isMet } from './compiled-policy.ts'
import type { SignIn } from './conditions/condition.ts'
import { bothChallenges, type ControlVerdict } from './controls/control.ts'
import type { MultifactorContexts } from './controls/grant.ts'
import { PolicyIndex } from './policy-index.ts'

export interface PolicyVerdict {
  readonly outcome: 'grant' | 'challenge' | 'block'
  /** Empty when no policy applies. */
  readonly reasons: readonly DecisionReason[]
  /** Ids of the enforced policies that apply. */
  readonly policies: readonly string[]
  readonly reportOnly: readonly ReportedVerdict[]
  readonly challenge: Challenge | undefined
  readonly sessionDemands: SessionDemands
  /** Whether a policy for unsafe methods alone had a say. */
  readonly concernsMethods: boolean
  /** Until when this stays true while nothing but the clock changes. */
  readonly validUntilMs: number
}

export class ConditionalAccess {
  /** All that are not disabled. */
  readonly policies: readonly CompiledPolicy[]
  /** Entries that could not be read: nobody knows whom they would have kept out. */
  readonly #unusable: readonly string[]
  readonly #index: PolicyIndex

  constructor(policies: readonly CompiledPolicy[], unusable: readonly string[] = []) {
    this.policies = policies
    this.#unusable = unusable
    this.#index = new PolicyIndex(policies)
  }

  /** Compiles what was not compiled before. */
  static of(
    policies: Iterable<ConditionalAccessPolicy>,
    contexts: MultifactorContexts,
    { compiled = new WeakMap(), unusable = [] as readonly string[] } = {},
  ): ConditionalAccess {
    const all: CompiledPolicy[] = []
    for (const policy of policies) {
      if (policy.state === 'disabled') continue
      const one = compiled.get(policy) ?? compilePolicy(policy, contexts)
      compiled.set(policy, one)
      all.push(one)
    }
    return new ConditionalAccess(all, unusable)
  }

  evaluate(signIn: SignIn): PolicyVerdict {
    if (this.#unusable.length > 0) return unusableVerdict
    const summary = new Summary(signIn)
    for (const compiled of this.#index.concerning(signIn)) summary.add(compiled)
    return summary.verdict()
  }
}

const unusableVerdict: PolicyVerdict = {
  outcome: 'block',
  reasons: ['policy-unusable'],
  policies: [],
  reportOnly: [],
  challenge: undefined,
  sessionDemands: {},
  concernsMethods: false,
  validUntilMs: Number.POSITIVE_INFINITY,
}

class Summary {
  readonly #signIn: SignIn
  readonly #policies: string[] = []
  readonly #reportOnly: ReportedVerdict[] = []
  readonly #satisfied: DecisionReason[] = []
  readonly #challenging: DecisionReason[] = []
  readonly #blocking: DecisionReason[] = []
  #challenge: Challenge | undefined
  #demands: SessionDemands = {}
  #concernsMethods = false
  #validUntilMs = Number.POSITIVE_INFINITY

  constructor(signIn: SignIn) {
    this.#signIn = signIn
  }

  add(compiled: CompiledPolicy): void {
    const { changesAt, clockTests, isEnforced, persistentBrowser, policy } = compiled
    if (changesAt) this.#limit(changesAt(this.#signIn.nowMs))
    // Its time may come: what is decided without it ends by then.
    if (!isMet(clockTests, this.#signIn)) return
    const verdict = compiled.check(this.#signIn)
    if (compiled.isForUnsafeMethods) this.#concernsMethods = true
    const { id } = policy
    if (!isEnforced) {
      this.#reportOnly.push({ id, outcome: outcomeOf(verdict), reasons: [...verdict.reasons] })
      return
    }
    this.#policies.push(id)
    if (persistentBrowser) this.#demand(persistentBrowser)
    this.#count(verdict)
  }

  #limit(untilMs: number): void {
    if (untilMs < this.#validUntilMs) this.#validUntilMs = untilMs
  }

  /** "Never" wins over "always": the stricter of two policies counts. */
  #demand(persistentBrowser: 'always' | 'never'): void {
    if (this.#demands.persistentBrowser !== 'never') this.#demands = { persistentBrowser }
  }

  #count(verdict: ControlVerdict): void {
    const outcome = outcomeOf(verdict)
    const reasons =
      outcome === 'grant'
        ? this.#satisfied
        : outcome === 'challenge'
          ? this.#challenging
          : this.#blocking
    for (const reason of verdict.reasons) if (!reasons.includes(reason)) reasons.push(reason)
    if (outcome === 'grant') this.#limit(verdict.validUntilMs)
    if (outcome !== 'challenge' || !verdict.remedy) return
    this.#challenge = this.#challenge
      ? bothChallenges(this.#challenge, verdict.remedy)
      : verdict.remedy
  }

  verdict(): PolicyVerdict {
    const outcome =
      this.#blocking.length > 0 ? 'block' : this.#challenging.length > 0 ? 'challenge' : 'grant'
    const reasons =
      outcome === 'grant' ? this.#satisfied : [...this.#blocking, ...this.#challenging]
    return {
      outcome,
      reasons,
      policies: this.#policies,
      reportOnly: this.#reportOnly,
      challenge: outcome === 'challenge' ? this.#challenge : undefined,
      sessionDemands: this.#demands,
      concernsMethods: this.#concernsMethods,
      validUntilMs: this.#validUntilMs,
    }
  }
}

export function outcomeOf({ isSatisfied, remedy }: ControlVerdict): PolicyVerdict['outcome'] {
  if (isSatisfied) return 'grant'
  return remedy ? 'challenge' : 'block'
}
