/**
 * What an application's sign-on settings have to keep, beyond their form: a mode has the settings that it works with
 * and no others that would be ignored, a header that is ours or the connection's cannot be set, and there is somebody
 * to sign on.
 */

import type { Application } from '#infra/contracts/application.ts'
import type { SingleSignOnSettings } from '#infra/contracts/sign-on.ts'
import { isHopByHop } from '#infra/http.ts'
import { canonicalFieldName, isReserved } from '#infra/reserved-fields.ts'
import { invalidBecause, type PropertyProblem } from './refusal.ts'

const place = 'onPremisesPublishing.singleSignOnSettings'

/** Refuses settings that cannot work together, all problems at once. */
export function checkSignOn({ onPremisesPublishing }: Application): void {
  const { singleSignOnSettings: settings } = onPremisesPublishing
  if (!settings) return
  const problems = [
    ...problemsOfMode(settings),
    ...problemsOfPublishing(settings, onPremisesPublishing),
    ...problemsOfNames(settings),
    ...problemsOfLastLease(settings, onPremisesPublishing),
  ]
  if (problems.length > 0) throw invalidBecause(problems)
}

const settingsOfMode = {
  onPremisesKerberos: 'kerberosSignOnSettings',
  aadHeaderBased: 'headerSignOnSettings',
  signedAssertion: 'assertionSignOnSettings',
} as const

const settingsNames = Object.values(settingsOfMode)

function problemsOfMode(settings: SingleSignOnSettings): PropertyProblem[] {
  const { singleSignOnMode: mode } = settings
  if (mode === 'none') {
    return settingsNames
      .filter(name => settings[name])
      .map(name => problem(name, 'would be ignored with singleSignOnMode none; leave it out'))
  }
  const problems: PropertyProblem[] = []
  const wanted = settingsOfMode[mode]
  if (!settings[wanted]) problems.push(problem(wanted, `is required with singleSignOnMode ${mode}`))
  if (mode !== 'onPremisesKerberos' && settings.kerberosSignOnSettings) {
    const message = `would be ignored with singleSignOnMode ${mode}; leave it out`
    problems.push(problem('kerberosSignOnSettings', message))
  }
  return problems
}

function problemsOfPublishing(
  { singleSignOnMode: mode }: SingleSignOnSettings,
  publishing: Application['onPremisesPublishing'],
): PropertyProblem[] {
  if (mode === 'none') return []
  const problems: PropertyProblem[] = []
  if (publishing.externalAuthenticationType === 'passthru') {
    const message = 'needs users who are signed in; externalAuthenticationType is passthru'
    problems.push(problem('singleSignOnMode', message))
  }
  if (mode === 'onPremisesKerberos' && publishing.originHttpVersion === 'http2') {
    const message =
      'needs connections of one user each, which originHttpVersion http2 shares; set it to http1'
    problems.push(problem('singleSignOnMode', message))
  }
  return problems
}

/** The application would be given an assertion that is over, and refuse its users. */
function problemsOfLastLease(
  { assertionSignOnSettings }: SingleSignOnSettings,
  { whenPolicyIsUnavailable }: Application['onPremisesPublishing'],
): PropertyProblem[] {
  if (!assertionSignOnSettings || whenPolicyIsUnavailable !== 'lastLease') return []
  const property = 'onPremisesPublishing.whenPolicyIsUnavailable'
  return [{ property, message: 'must be failClosed: a signed assertion ends with its lease' }]
}

function problemsOfNames(settings: SingleSignOnSettings): PropertyProblem[] {
  const { headerSignOnSettings: headers, assertionSignOnSettings: assertion } = settings
  const named = [
    ...(headers?.headers ?? []).map(({ name }, i) => ({
      name,
      property: `headerSignOnSettings.headers.${i}.name`,
    })),
    ...(assertion
      ? [{ name: assertion.headerName, property: 'assertionSignOnSettings.headerName' }]
      : []),
  ]
  const seen = new Set<string>()
  return named.flatMap(({ name, property }) => {
    const canonical = canonicalFieldName(name)
    const isTwice = seen.has(canonical)
    seen.add(canonical)
    if (isTwice) return [problem(property, `names "${name}" twice, as some programs read it`)]
    return isSettable(canonical) ? [] : [problem(property, `"${name}" is reserved; choose another`)]
  })
}

/** Of the reserved ones, those that say who asks: the gateway lets no client send them, and sets none itself. */
const settable = new Set([
  'sallyport-assertion',
  'x-forwarded-user',
  'x-forwarded-email',
  'x-forwarded-groups',
  'x-forwarded-preferred-username',
])

/** What a request consists of, or what others sign on with. */
const taken = new Set([
  ...['host', 'content-length', 'expect', 'cookie', 'origin', 'referer', 'range', 'via'],
  ...['authorization', 'content-type', 'content-encoding', 'traceparent', 'tracestate', 'trailer'],
])

function isSettable(canonical: string): boolean {
  if (settable.has(canonical)) return true
  return !(isHopByHop(canonical) || isReserved(canonical) || taken.has(canonical))
}

function problem(name: string, message: string): PropertyProblem {
  return { property: `${place}.${name}`, message }
}
