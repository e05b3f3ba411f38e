/**
 * What becomes of a claim on its way into a header: a list of values that goes through one transform after the other.
 * Patterns are the administrator's, but the values come from sign-ins, so each match has a time limit.
 */

import { createContext, Script } from 'node:vm'
import { matchesName, type Transform } from '#infra/contracts/sign-on.ts'
import { SignOnFailure } from './reasons.ts'

type RegexTransform = Extract<Transform, { type: 'regex' }>

/** @throws SignOnFailure `claim_unusable` for a pattern that takes too long. */
export function transformed(values: readonly string[], transforms: readonly Transform[]): string[] {
  return transforms.reduce<string[]>((present, transform) => apply(transform, present), [...values])
}

function apply(transform: Transform, values: string[]): string[] {
  switch (transform.type) {
    case 'lower':
      return values.map(value => value.toLowerCase())
    case 'stripDomain':
      return values.map(withoutDomain)
    case 'regex':
      return matched(values, transform)
    case 'groupFilter':
      return values.filter(value => transform.groups.some(group => matchesName(group, value)))
    case 'join':
      return values.length === 0 ? [] : [values.join(transform.separator)]
    case 'base64':
      return values.map(value => Buffer.from(value).toString('base64'))
  }
}

function withoutDomain(value: string): string {
  const [, account = value] = /^[^\\]*\\(.*)$/s.exec(value) ?? []
  const at = account.lastIndexOf('@')
  return at < 1 ? account : account.slice(0, at)
}

/** For all values of one claim together. */
const patternMs = 25

const sandbox: { asked: object | undefined } = { asked: undefined }
createContext(sandbox)

/** A pattern that backtracks without end can only be stopped from outside. */
const matching = new Script(`{
  const { values, pattern, replacement } = asked
  const expression = new RegExp(pattern, 'u')
  JSON.stringify(values.flatMap(value => {
    const match = expression.exec(value)
    if (!match) return []
    return [replacement === undefined ? match[1] ?? match[0] : value.replace(expression, replacement)]
  }))
}`)

function matched(values: string[], { pattern, replacement }: RegexTransform): string[] {
  sandbox.asked = { values, pattern, replacement }
  try {
    return JSON.parse(String(matching.runInContext(sandbox, { timeout: patternMs })))
  } catch (cause) {
    throw new SignOnFailure('claim_unusable', `the pattern ${pattern} takes too long`, { cause })
  } finally {
    sandbox.asked = undefined
  }
}
