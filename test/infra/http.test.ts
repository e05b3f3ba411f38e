/** Header and path rules that both ends share. */

import { describe, expect, test } from 'vitest'
import { isAmbiguousBetweenPaths, isAmbiguousPath, isBelow } from '#infra/http.ts'

describe('paths that two programs read differently are refused', () => {
  test.each([
    '/a/../b',
    '/..',
    '/a/.',
    '/./a',
    '/a/..;/b',
    '/a/..;x=1/b',
    '/%2e%2e/b',
    '/%2E%2e/b',
    '/a/.%2e/b',
    '/a%2f..%2fb',
    '/a/..%2fb',
    '/a\\b',
    '/a%5cb',
    '/a%5Cb',
    '/a%00',
    '/a#b',
  ])('%s', path => expect(isAmbiguousPath(path)).toBe(true))

  test.each([
    '/',
    '/a/b',
    '/a.b/..c',
    '/...',
    '/.well-known/x',
    '/a/.hidden',
    '/a%2fb',
    '/a//b',
    '/%7Euser',
    '/file.tar.gz',
    '/a;v=1/b',
  ])('%s is not one of them', path => expect(isAmbiguousPath(path)).toBe(false))

  test('where paths of a host belong to different applications, collapsible slashes are too', () => {
    expect(isAmbiguousBetweenPaths('/x//admin')).toBe(true)
    expect(isAmbiguousBetweenPaths('/x%2Fadmin')).toBe(true)
    expect(isAmbiguousBetweenPaths('/x/admin')).toBe(false)
  })
})

test('a prefix holds whole segments only', () => {
  expect(isBelow('/app/x', '/app/')).toBe(true)
  expect(isBelow('/app', '/app/')).toBe(true)
  expect(isBelow('/apple', '/app/')).toBe(false)
  expect(isBelow('/', '/app/')).toBe(false)
})
