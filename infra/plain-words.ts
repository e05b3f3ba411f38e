/**
 * What is said of a value that a schema refuses and has no words of its own for: what the value must be, in the words of
 * those who typed it. Importing this is what makes it so, for every schema of the process.
 */

import { z } from 'zod'

z.config({ localeError: inPlainWords })

function inPlainWords(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is required'
        : `must be ${kinds[issue.expected] ?? issue.expected}`
    case 'too_small':
      return `must ${leastOf(issue.origin, Number(issue.minimum), issue.inclusive ?? true)}`
    case 'too_big':
      return `must ${mostOf(issue.origin, Number(issue.maximum), issue.inclusive ?? true)}`
    case 'invalid_value':
      return issue.values.length === 1
        ? `must be ${quoted(issue.values)}`
        : `must be one of ${quoted(issue.values)}`
    case 'invalid_format':
      return formats[issue.format]
        ? `must be ${formats[issue.format]}`
        : 'is not written as it has to be'
    case 'unrecognized_keys':
      return `has ${quoted(issue.keys)}, which ${issue.keys.length === 1 ? 'is' : 'are'} not known here`
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`
    default:
      return 'is none of the values that are possible here'
  }
}

function quoted(values: readonly unknown[]): string {
  return values
    .map(value => (typeof value === 'string' ? JSON.stringify(value) : String(value)))
    .join(', ')
}

const kinds: Partial<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
}

const formats: Partial<Record<string, string>> = {
  url: 'a URL',
  uuid: 'a UUID',
  datetime: 'a date and time, as in 2026-01-31T08:00:00Z',
  date: 'a date, as in 2026-01-31',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
}

const counted: Partial<Record<string, readonly [one: string, many: string]>> = {
  string: ['character', 'characters'],
  array: ['entry', 'entries'],
  set: ['entry', 'entries'],
  map: ['entry', 'entries'],
}

const amount = ([one, many]: readonly [string, string], count: number) =>
  `${count} ${count === 1 ? one : many}`

function leastOf(origin: string, least: number, isIncluded: boolean): string {
  const what = counted[origin]
  if (!what) return `be ${isIncluded ? 'at least' : 'more than'} ${least}`
  return least === 1 ? 'not be empty' : `have at least ${amount(what, least)}`
}

function mostOf(origin: string, most: number, isIncluded: boolean): string {
  const what = counted[origin]
  return what
    ? `have at most ${amount(what, most)}`
    : `be ${isIncluded ? 'at most' : 'less than'} ${most}`
}
