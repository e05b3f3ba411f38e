/** What the name of a field says, in any spelling, the first time and every other. */

import { expect, test } from 'vitest'
import { fieldKind } from '#infra/field-kinds.ts'

test.each([
  ['Connection', { name: 'connection', isHopByHop: true, isReserved: false }],
  ['X-Forwarded-For', { name: 'x-forwarded-for', isHopByHop: false, isReserved: true }],
  ['x_Forwarded_for', { name: 'x_forwarded_for', isHopByHop: false, isReserved: true }],
  ['Content-Type', { name: 'content-type', isHopByHop: false, isReserved: false }],
])('%s', (spelling, kind) => {
  for (const each of [spelling, spelling.toUpperCase(), spelling.toLowerCase(), spelling])
    expect(fieldKind(each)).toEqual(kind)
})

test('names that are made up crowd nothing out', () => {
  for (let i = 0; i < 5_000; i++) expect(fieldKind(`X-${i}`).name).toBe(`x-${i}`)
  expect(fieldKind('KEEP-Alive').isHopByHop).toBe(true)
  expect(fieldKind('Sallyport-User')).toMatchObject({ isReserved: true })
})
