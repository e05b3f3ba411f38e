/** A request with its session, as policies see it. What is the same for all requests of a session is prepared once. */

import type { Application } from '#infra/contracts/application.ts'
import type { RiskLevel } from '#infra/contracts/conditional-access/conditions.ts'
import type { FactValue } from '#infra/contracts/conditional-access/signals.ts'
import type { MethodClass } from '#infra/contracts/http-methods.ts'
import type { Device, Principal, RequestFacts } from '#infra/contracts/principal.ts'
import type { Authentication, SignIn, User } from './conditions/condition.ts'
import type { MultifactorContexts } from './controls/grant.ts'
import type { Place } from './places.ts'
import { riskKey } from './signals.ts'
import type { PolicyState } from './state.ts'

export interface Observed {
  readonly application: Application
  readonly principal: Principal
  readonly sessionId: string | null
  readonly facts: RequestFacts
  readonly methods: MethodClass
  readonly nowMs: number
}

export function observedSignIn(observed: Observed, state: PolicyState): SignIn {
  return new ObservedSignIn(observed, state)
}

/** One for each decision, so it does no more than it is asked for: places, risks and facts are looked up when needed. */
class ObservedSignIn implements SignIn {
  readonly user: User
  readonly application: SignIn['application']
  readonly authentication: Authentication
  readonly clientAppType: RequestFacts['clientAppType']
  readonly devicePlatform: RequestFacts['devicePlatform']
  readonly device: Device
  readonly transferMethod = 'none'
  readonly methods: MethodClass
  readonly nowMs: number
  readonly #observed: Observed
  readonly #state: PolicyState
  readonly #userRiskKey: string
  #place: Place | undefined
  #signInRisk: RiskLevel | undefined
  #userRisk: RiskLevel | undefined

  constructor(observed: Observed, state: PolicyState) {
    const { application, principal, facts, methods, nowMs } = observed
    const { user, authentication, userRiskKey } = prepared(principal, state.multifactor)
    this.user = user
    this.application = named(application)
    this.authentication = authentication
    this.clientAppType = facts.clientAppType
    this.devicePlatform = facts.devicePlatform
    this.device = deviceOf(observed, state)
    this.methods = methods
    this.nowMs = nowMs
    this.#observed = observed
    this.#state = state
    this.#userRiskKey = userRiskKey
  }

  get place(): Place {
    this.#place ??= this.#state.places.at(this.#observed.facts.clientAddress)
    return this.#place
  }

  get signInRisk(): RiskLevel {
    const { sessionId, nowMs } = this.#observed
    this.#signInRisk ??=
      sessionId === null ? 'none' : this.#state.signals.risk('session', sessionId, nowMs)
    return this.#signInRisk
  }

  get userRisk(): RiskLevel {
    this.#userRisk ??= this.#state.signals.riskAt(this.#userRiskKey, this.nowMs)
    return this.#userRisk
  }

  fact(name: string): FactValue | undefined {
    const { userPrincipalName } = this.#observed.principal
    const deviceId = textOf(this.device.deviceId)
    const about = { applicationId: this.application.id, userPrincipalName, deviceId }
    return this.#state.signals.fact(name, about, this.nowMs)
  }
}

/** The same as a plain value, of which copies can be made with something changed. */
export function plainSignIn(signIn: SignIn): SignIn {
  const { user, application, authentication, clientAppType, devicePlatform, place } = signIn
  const { device, signInRisk, userRisk, transferMethod, methods, nowMs } = signIn
  return {
    ...{ user, application, authentication, clientAppType, devicePlatform, place },
    ...{ device, signInRisk, userRisk, transferMethod, methods, nowMs },
    fact: name => signIn.fact(name),
  }
}

const names = new WeakMap<Application, SignIn['application']>()

/** GUIDs may be written either way; policies are compiled with lower case. */
function named(application: Application): SignIn['application'] {
  let name = names.get(application)
  if (!name) {
    name = { id: application.id, appId: application.appId.toLowerCase() }
    names.set(application, name)
  }
  return name
}

const noDevice: Device = {}

function deviceOf({ principal, nowMs }: Observed, { signals }: PolicyState): Device {
  const device = principal.device ?? noDevice
  const deviceId = textOf(device.deviceId)
  const verdict = deviceId === undefined ? undefined : signals.isDeviceCompliant(deviceId, nowMs)
  return verdict === undefined ? device : { ...device, isCompliant: verdict === true }
}

function textOf(value: Device[string] | FactValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

interface Prepared {
  readonly user: User
  readonly authentication: Authentication
  readonly userRiskKey: string
}

const known = new WeakMap<Principal, { multifactor: MultifactorContexts; prepared: Prepared }>()

function prepared(principal: Principal, multifactor: MultifactorContexts): Prepared {
  const remembered = known.get(principal)
  if (remembered?.multifactor === multifactor) return remembered.prepared
  const made = {
    user: userOf(principal),
    authentication: authenticationOf(principal, multifactor),
    userRiskKey: riskKey('user', principal.userPrincipalName),
  }
  known.set(principal, { multifactor, prepared: made })
  return made
}

/** Who is no guest for the provider may still come from elsewhere: Entra marks such names. */
function userOf({ userPrincipalName, subject, objectId, ...principal }: Principal): User {
  const names = [userPrincipalName, subject, ...(objectId === undefined ? [] : [objectId])]
  return {
    names: new Set(names.map(name => name.toLowerCase())),
    groups: new Set(principal.groups),
    roles: new Set(principal.roles),
    isGuest: principal.isGuest ?? /#ext#/i.test(userPrincipalName),
  }
}

/** Words of `amr` that stand for more than one factor by themselves (RFC 8176, OpenID EAP). */
const multifactorWords = ['mfa', 'phr', 'phrh']

export function authenticationOf(
  { amr, acr, authTime }: Pick<Principal, 'amr' | 'acr' | 'authTime'>,
  { acrValues }: MultifactorContexts,
): Authentication {
  const words = new Set([...amr, ...(acr === undefined ? [] : [acr])])
  return {
    words,
    isMultifactor: [...multifactorWords, ...acrValues].some(word => words.has(word)),
    timeMs: authTime > 0 ? authTime * 1_000 : Number.NaN,
  }
}
