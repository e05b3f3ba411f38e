/** What an application clears of its own, and that it clears nothing of anybody else. */

import { expect, test } from 'vitest'
import { withOwnSiteData } from '../../gateway/site-data.ts'

const asked = {
  headers: ['Host', 'a.example.com', 'Cookie', 'a=1; __Host-b=x=y', 'cookie', 'c; d=; a=2'],
  externalUrl: 'https://a.example.com/docs/',
}
const cleared = (...values: string[]) => {
  const fields = values.flatMap(value => ['Clear-Site-Data', value])
  return withOwnSiteData(['X-A', '1', ...fields], asked)
}
const expired = [
  ...['Set-Cookie', 'a=; Path=/; Max-Age=0', 'Set-Cookie', 'a=; Path=/docs/; Max-Age=0'],
  ...['Set-Cookie', '__Host-b=; Path=/; Max-Age=0; Secure'],
  ...['Set-Cookie', '__Host-b=; Path=/docs/; Max-Age=0; Secure'],
  ...['Set-Cookie', 'd=; Path=/; Max-Age=0', 'Set-Cookie', 'd=; Path=/docs/; Max-Age=0'],
]

test('cookies that came with the request end, and no others', () => {
  expect(cleared('"cookies"')).toEqual(['X-A', '1', ...expired])
  expect(cleared('"storage", "cookies"', '"cache"')).toEqual([
    ...['X-A', '1', 'Clear-Site-Data', '"storage", "cache"'],
    ...expired,
  ])
})

test('all is all but the cookies of others', () => {
  expect(cleared('"cache","*"')).toEqual([
    ...['X-A', '1', 'Clear-Site-Data', '"cache", "clientHints", "executionContexts", "storage"'],
    ...expired,
  ])
})

test('what is no cookie stays as it is', () => {
  expect(cleared('"cache", "storage"')).toEqual([
    'X-A',
    '1',
    'Clear-Site-Data',
    '"cache", "storage"',
  ])
  expect(withOwnSiteData(['X-A', '1'], asked)).toEqual(['X-A', '1'])
})
