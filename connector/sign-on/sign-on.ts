/**
 * Which methods sign users on to which application. An application without any has none of this on its path; one that
 * wants what this connector cannot do is refused, request by request, never served without it.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { SingleSignOnSettings } from '#infra/contracts/sign-on.ts'
import type { Logger } from '#infra/log.ts'
import { assertionMethod } from './assertion.ts'
import { headersMethod } from './headers.ts'
import type { KerberosConfig } from './kerberos/config.ts'
import { type Kerberos, openKerberos } from './kerberos/kerberos.ts'
import { kerberosMethod } from './kerberos.ts'
import type { Method } from './method.ts'
import { SignOnProblems } from './problems.ts'
import { asFailure, SignOnFailure } from './reasons.ts'

export interface SignOn extends AsyncDisposable {
  readonly problems: SignOnProblems
  /** Undefined when nobody is signed on to it. */
  methodsOf(application: Application): readonly Method[] | undefined
  /** The account that asks for tickets. @throws SignOnFailure */
  check(): Promise<string>
}

/** A keytab that cannot be used is told, and keeps the connector from nothing else. */
export async function openSignOn(config: KerberosConfig | undefined, log: Logger): Promise<SignOn> {
  const problems = new SignOnProblems(log)
  const kerberos = config && (await openKerberos({ ...config, log }))
  if (kerberos) void tellState(kerberos, problems, log)
  /** Found once for each state of an application. */
  const known = new WeakMap<SingleSignOnSettings, readonly Method[]>()
  return {
    problems,
    methodsOf({ onPremisesPublishing: { singleSignOnSettings: settings } }) {
      if (settings === null || settings.singleSignOnMode === 'none') return undefined
      let methods = known.get(settings)
      if (!methods) {
        methods = methodsFor(settings, kerberos)
        known.set(settings, methods)
      }
      return methods
    },
    async check() {
      if (kerberos) return kerberos.check()
      throw new SignOnFailure('not_configured', 'this connector has no keytab')
    },
    [Symbol.asyncDispose]: async () => kerberos?.[Symbol.asyncDispose](),
  }
}

/** So that a wrong keytab is known before the first user comes. */
async function tellState(kerberos: Kerberos, problems: SignOnProblems, log: Logger): Promise<void> {
  try {
    log.info({ account: await kerberos.check() }, 'Kerberos is ready')
  } catch (error) {
    problems.failed('Kerberos', '', asFailure(error))
  }
}

function methodsFor(settings: SingleSignOnSettings, kerberos: Kerberos | undefined): Method[] {
  const { singleSignOnMode: mode } = settings
  const { kerberosSignOnSettings, headerSignOnSettings, assertionSignOnSettings } = settings
  const methods: Method[] = []
  if (headerSignOnSettings) methods.push(headersMethod(headerSignOnSettings))
  if (assertionSignOnSettings) methods.push(assertionMethod(assertionSignOnSettings))
  if (mode === 'onPremisesKerberos') {
    const isPossible = kerberos && kerberosSignOnSettings
    methods.push(isPossible ? kerberosMethod(kerberosSignOnSettings, kerberos) : withoutKeytab)
  }
  return methods
}

const withoutKeytab: Method = {
  owns: new Set(['authorization']),
  prepare() {
    throw new SignOnFailure('not_configured', 'this connector has no keytab')
  },
}
