/** Tries sign-on without a request: for a diagnosis. What it gets is given back at once, and goes nowhere. */

import type { Application } from '#infra/contracts/application.ts'
import type { Hop } from '#infra/contracts/diagnosis.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import { asFailure } from './reasons.ts'
import type { SignOn } from './sign-on.ts'

export async function trySignOn(
  application: Application,
  signOn: SignOn,
  name: string | null,
): Promise<Hop> {
  const settings = application.onPremisesPublishing.singleSignOnSettings
  const methods = signOn.methodsOf(application)
  if (!methods || !settings) return said('skipped', 'none is set')
  const mode = settings.singleSignOnMode
  try {
    if (name === null) {
      if (mode !== 'onPremisesKerberos') return said('ok', `${mode}; no user was named to try it`)
      const account = await signOn.check()
      return said('ok', `Kerberos as ${account}; name a user to try delegation`)
    }
    for (const method of methods) {
      const { proof } = await method.prepare(trialOf(application, name))
      proof?.release()
    }
    return said('ok', `${mode} for ${name}`)
  } catch (error) {
    const { reason, message, advice } = asFailure(error)
    return { hop: 'sign-on', outcome: 'failed', detail: `${reason}: ${message}`, fix: advice }
  }
}

function said(outcome: 'ok' | 'skipped', detail: string): Hop {
  return { hop: 'sign-on', outcome, detail: detail.slice(0, 1_000) }
}

/** Whoever has this name in every respect. */
export function userOfName(name: string): Principal {
  return {
    subject: name,
    userPrincipalName: name,
    displayName: name,
    groups: [],
    amr: [],
    authTime: 0,
    issuer: '',
    claims: { onPremisesUserPrincipalName: [name], onPremisesSamAccountName: [accountOf(name)] },
  }
}

function trialOf(application: Application, name: string) {
  const principal = userOfName(name)
  const claims: LeaseClaims = {
    iss: 'sallyport/policy',
    aud: application.connectorGroupId,
    sub: name,
    jti: '',
    iat: 0,
    exp: 0,
    app: application.id,
    session: null,
    fingerprint: '',
    user: principal,
    satisfied: [],
    assertion: 'trial',
  }
  return { claims, principal }
}

function accountOf(name: string): string {
  return name.split('@')[0] ?? name
}
