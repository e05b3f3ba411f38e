/**
 * The rule of a device filter, in Entra's syntax: `device.trustType -eq "ServerAD" -and device.isCompliant -eq True`,
 * with -and, -or, -not and parentheses. A device that is not known has no properties: negative operators hold for it and
 * positive ones do not, as in Entra.
 */

import type { Device } from '../principal.ts'

export type DeviceTest = (device: Device) => boolean

/** What is wrong with a rule, for the administrator. */
export class RuleProblem extends Error {
  override name = 'RuleProblem'
}

const properties = new Set([
  ...['deviceId', 'displayName', 'deviceOwnership', 'enrollmentProfileName', 'isCompliant'],
  ...['manufacturer', 'mdmAppId', 'model', 'operatingSystem', 'operatingSystemVersion'],
  ...['physicalIds', 'profileType', 'systemLabels', 'trustType'],
  ...Array.from({ length: 15 }, (_, index) => `extensionAttribute${index + 1}`),
])

type Value = string | boolean | readonly string[]
type Compare = (is: string, wanted: string) => boolean

const comparisons: Readonly<Record<string, Compare>> = {
  '-eq': (is, wanted) => is === wanted,
  '-startswith': (is, wanted) => is.startsWith(wanted),
  '-endswith': (is, wanted) => is.endsWith(wanted),
  '-contains': (is, wanted) => is.includes(wanted),
  '-in': (is, wanted) => is === wanted,
}

/** Each negative operator with what it negates. */
const negations: Readonly<Record<string, string>> = {
  '-ne': '-eq',
  '-notstartswith': '-startswith',
  '-notendswith': '-endswith',
  '-notcontains': '-contains',
  '-notin': '-in',
}

const token = /\s*("(?:[^"\\]|\\.)*"|'[^']*'|\[|\]|\(|\)|,|-[A-Za-z]+|[A-Za-z][\w.]*|(\S))/y

/** @throws RuleProblem */
export function compileDeviceRule(rule: string): DeviceTest {
  const reader = new Reader(tokensOf(rule))
  const test = anyOf(reader)
  if (!reader.isAtEnd) throw new RuleProblem(`has "${reader.next()}" where it should end`)
  return test
}

function tokensOf(rule: string): string[] {
  const tokens: string[] = []
  const text = rule.trim()
  token.lastIndex = 0
  while (token.lastIndex < text.length) {
    const [, found = '', strange] = token.exec(text) ?? []
    if (found === '' || strange !== undefined) throw new RuleProblem(`cannot be read at "${found}"`)
    tokens.push(found)
  }
  return tokens
}

class Reader {
  readonly #tokens: readonly string[]
  #place = 0
  #depth = 0

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens
  }

  get isAtEnd(): boolean {
    return this.#place >= this.#tokens.length
  }

  next(): string {
    const found = this.#tokens[this.#place++]
    if (found === undefined) throw new RuleProblem('ends too early')
    return found
  }

  /** Takes the next token if it is this one. */
  takes(expected: string): boolean {
    if (this.#tokens[this.#place]?.toLowerCase() !== expected) return false
    this.#place++
    return true
  }

  expect(expected: string): void {
    if (!this.takes(expected)) throw new RuleProblem(`lacks a "${expected}"`)
  }

  /** Rules come from administrators; even so they must not exhaust the stack. */
  nested<Result>(read: () => Result): Result {
    if (++this.#depth > 50) throw new RuleProblem('is nested too deeply')
    const result = read()
    this.#depth--
    return result
  }
}

function anyOf(reader: Reader): DeviceTest {
  const tests = [allOf(reader)]
  while (reader.takes('-or')) tests.push(allOf(reader))
  return device => tests.some(test => test(device))
}

function allOf(reader: Reader): DeviceTest {
  const tests = [oneOf(reader)]
  while (reader.takes('-and')) tests.push(oneOf(reader))
  return device => tests.every(test => test(device))
}

function oneOf(reader: Reader): DeviceTest {
  return reader.nested(() => {
    if (reader.takes('-not')) {
      const test = oneOf(reader)
      return device => !test(device)
    }
    if (!reader.takes('(')) return comparison(reader)
    const test = anyOf(reader)
    reader.expect(')')
    return test
  })
}

function comparison(reader: Reader): DeviceTest {
  const name = reader.next()
  const [, property = ''] = /^device\.(\w+)$/i.exec(name) ?? []
  const known = [...properties].find(each => each.toLowerCase() === property.toLowerCase())
  if (known === undefined) throw new RuleProblem(`names "${name}", which no device has`)
  const operator = reader.next().toLowerCase()
  const isNegative = Object.hasOwn(negations, operator)
  const positive = isNegative ? (negations[operator] ?? '') : operator
  const compare = Object.hasOwn(comparisons, positive) ? comparisons[positive] : undefined
  if (!compare) throw new RuleProblem(`has the operator "${operator}", which there is not`)
  const wanted = values(reader, positive === '-in')
  return device => {
    const is = valuesOf(device[known])
    return isNegative !== is.some(value => wanted.some(other => compare(value, other)))
  }
}

/** Texts compare without case. */
function values(reader: Reader, isList: boolean): string[] {
  if (!isList) return [literal(reader.next())]
  reader.expect('[')
  const list = [literal(reader.next())]
  while (reader.takes(',')) list.push(literal(reader.next()))
  reader.expect(']')
  return list
}

function literal(text: string): string {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase()
  if (/^["']/.test(text)) return text.slice(1, -1).replace(/\\(.)/g, '$1').toLowerCase()
  throw new RuleProblem(`has ${text} where a value in quotes, True or False should be`)
}

function valuesOf(value: Value | undefined): string[] {
  if (value === undefined) return []
  return (typeof value === 'object' ? value : [String(value)]).map(item => item.toLowerCase())
}
