/** Every rule of HTTP that we keep is the name of a test: this is the list, and whoever removes a test is told here. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const rules: Readonly<Record<string, readonly string[]>> = {
  'RFC 3986': ['6.2.2'],
  'RFC 6265': ['5.4'],
  'RFC 6585': ['5'],
  'RFC 7239': ['5'],
  'RFC 9110': [
    ...['5.1', '5.3', '5.4', '5.5', '6.5.1', '7.2', '7.6.1', '7.6.2', '7.6.3', '7.7', '7.8', '8.6'],
    ...['9.1', '9.3.1', '9.3.2', '9.3.5', '9.3.7', '9.3.8', '10.1.1', '10.1.4', '11.6.2', '13.1'],
    ...[
      '14.2',
      '14.3',
      '14.6',
      '15.2',
      '15.2.1',
      '15.2.2',
      '15.3.7',
      '15.5.6',
      '15.5.9',
      '15.5.17',
    ],
  ],
  'RFC 9112': [
    ...[
      '2.2',
      '2.3',
      '2.5',
      '3',
      '3.2',
      '3.2.1',
      '3.2.2',
      '3.2.3',
      '3.2.4',
      '4',
      '5',
      '5.1',
      '5.2',
    ],
    ...['6', '6.1', '6.3', '7.1', '7.1.1', '7.1.2', '8', '9.3.2'],
  ],
  'RFC 9113': ['8.1', '8.2.3'],
}

const places = '{gateway,connector,infra,system}/**/*.test.ts'
const tests = globSync(places, { cwd: import.meta.dirname })
  .map(file => readFileSync(join(import.meta.dirname, file), 'utf8'))
  .join('\n')

/** `RFC 9110 §5.3, §5.5: …` names two. */
function isNamed(rfc: string, section: string): boolean {
  const names = tests.match(new RegExp(`['"(]${rfc} §[\\d., §]*`, 'g')) ?? []
  return names.some(name =>
    name
      .match(/[\d.]+\d|\d/g)
      ?.slice(1)
      .includes(section),
  )
}

test.each(Object.entries(rules))(
  'the rules of %s that we keep have a test of their name',
  (rfc, sections) => {
    expect(sections.filter(section => !isNamed(rfc, section))).toEqual([])
  },
)
