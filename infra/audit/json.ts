/**
 * Events as JSON. There is one for every request, and JSON.stringify takes twice as long for it as this: for its
 * fractions, and for the decision, which is the same for many requests.
 */

import type { NewAuditEvent } from '../audit.ts'
import type { Decision } from '../contracts/policy.ts'

type NewAccessEvent = Extract<NewAuditEvent, { category: 'access' }>

/** The members of an event with its closing brace, so that others may stand before them. */
export function membersOf(event: NewAuditEvent): string {
  return event.category === 'access' ? accessMembers(event) : JSON.stringify(event).slice(1)
}

function accessMembers(event: NewAccessEvent): string {
  const { lastLease } = event
  return (
    `"category":"access","requestId":${text(event.requestId)},"user":${text(event.user)}` +
    `,"session":${text(event.session)},"application":${text(event.application)}` +
    `,"connectorGroup":${text(event.connectorGroup)},"clientAddress":${text(event.clientAddress)}` +
    `,"method":${text(event.method)},"host":${text(event.host)},"path":${text(event.path)}` +
    `,"decision":${decisionJson(event.decision)},"decidedMs":${number(event.decidedMs)}` +
    `,"durationMs":${number(event.durationMs)},"outcome":${text(event.outcome)}` +
    `,"status":${number(event.status)}${lastLease === undefined ? '' : `,"lastLease":${lastLease}`}` +
    `,"connector":${text(event.connector)},"attempts":${number(event.attempts)}` +
    `,"fault":${text(event.fault)},"faultDetail":${text(event.faultDetail)}` +
    `,"requestBytes":${number(event.requestBytes)},"responseBytes":${number(event.responseBytes)}` +
    `,"respondedMs":${number(event.respondedMs)}}`
  )
}

/** Nothing in it has to be escaped. */
const plain = /^[ !#-[\]-~]*$/

function text(value: string | null): string {
  if (value === null) return 'null'
  return plain.test(value) ? `"${value}"` : JSON.stringify(value)
}

/** Largest number of hundredths that V8 has as a small integer everywhere. */
const maxHundredths = 2 ** 30

/** Times have two digits behind the point at most; V8 takes long to find the shortest form of any number. */
function number(value: number | null): string {
  if (Number.isSafeInteger(value)) return `${value}`
  if (value === null || !Number.isFinite(value)) return JSON.stringify(value)
  const hundredths = Math.round(value * 100)
  const isExact = hundredths / 100 === value
  if (!isExact || hundredths < 0 || hundredths > maxHundredths) return `${value}`
  const whole = Math.floor(hundredths / 100)
  const rest = hundredths - 100 * whole
  if (rest % 10 === 0) return `${whole}.${rest / 10}`
  return rest < 10 ? `${whole}.0${rest}` : `${whole}.${rest}`
}

const written = new WeakMap<Decision, string>()

function decisionJson(decision: Decision | null): string {
  if (decision === null) return 'null'
  let json = written.get(decision)
  if (json === undefined) {
    json = JSON.stringify(decision)
    written.set(decision, json)
  }
  return json
}
