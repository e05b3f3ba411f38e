/** Which application a host and a path belong to. */

import { expect, test } from 'vitest'
import { applicationAt, externalOrigin, PublicationIndex } from '../../gateway/publish.ts'
import { application } from '../harness/application.ts'

const publication = new PublicationIndex([
  application('wiki', 'https://wiki.example.com/'),
  application('wiki-admin', 'https://wiki.example.com/admin/'),
  application('any', 'https://*.apps.example.com/'),
  application('nested', 'https://*.dev.apps.example.com/'),
  application('exact', 'https://one.apps.example.com/'),
  application('only-path', 'https://tools.example.com/grafana/'),
])

const find = (hostname: string, path: string, index = publication) => {
  const paths = index.at(hostname)
  return paths && applicationAt(paths, path)?.id
}

test.each([
  ['wiki.example.com', '/', 'wiki'],
  ['wiki.example.com', '/page', 'wiki'],
  ['wiki.example.com', '/admin/', 'wiki-admin'],
  ['wiki.example.com', '/admin/users', 'wiki-admin'],
  ['wiki.example.com', '/admin', 'wiki-admin'],
  ['one.apps.example.com', '/', 'exact'],
  ['two.apps.example.com', '/', 'any'],
  ['deep.two.apps.example.com', '/', 'any'],
  ['x.dev.apps.example.com', '/', 'nested'],
])('%s%s belongs to %s', (hostname, path, id) => {
  expect(find(hostname, path)).toBe(id)
})

test.each([
  ['a prefix that does not end at a segment', 'wiki.example.com', '/administrator', 'wiki'],
  ['a path beside the only published one', 'tools.example.com', '/other', undefined],
  ['the parent of a wildcard', 'apps.example.com', '/', undefined],
  ['an unknown host', 'unknown.example.com', '/', undefined],
  ['a host that merely ends alike', 'evilapps.example.com', '/', undefined],
  ['the empty host', '', '/', undefined],
])('%s gets no more than it should', (_name, hostname, path, id) => {
  expect(find(hostname, path)).toBe(id)
})

const hundredThousand = () =>
  new PublicationIndex(
    Array.from({ length: 100_000 }, (_, i) => application(`a${i}`, `https://a${i}.example.com/`)),
  )

test('a look-up costs the same with a hundred thousand applications, and so does a change', () => {
  const many = hundredThousand()
  const startedAt = performance.now()
  for (let i = 0; i < 100_000; i++) many.at(`a${i}.example.com`)
  expect(performance.now() - startedAt).toBeLessThan(500)
  const [before, after] = ['a', 'b'].map(host => application('one', `https://${host}.test/`))
  const changingAt = performance.now()
  for (let i = 0; i < 100; i++) {
    many.apply([{ before: undefined, after: before }])
    many.apply([{ before, after }])
    many.apply([{ before: after, after: undefined }])
  }
  expect(performance.now() - changingAt).toBeLessThan(100)
})

test('an application that changes, moves to another address or ends is found so at once', () => {
  const before = application('wiki', 'https://wiki.example.com/')
  const [path, star] = ['https://wiki.example.com/admin/', 'https://*.example.com/'].map((url, i) =>
    application(`other-${i}`, url),
  )
  const index = new PublicationIndex([before])
  const at = (path: string) => find('wiki.example.com', path, index)
  index.apply([{ before: undefined, after: path }])
  expect([at('/'), at('/admin/')]).toEqual(['wiki', 'other-0'])
  const moved = application('wiki', 'https://moved.example.com/')
  index.apply([{ before, after: moved }])
  expect([at('/'), at('/admin/')]).toEqual([undefined, 'other-0'])
  expect(find('moved.example.com', '/', index)).toBe('wiki')
  index.apply([{ before: path, after: undefined }])
  expect(index.at('wiki.example.com')).toBeUndefined()
  index.apply([{ before: undefined, after: star }])
  expect(at('/')).toBe('other-1')
  index.apply([{ before: star, after: undefined }])
  expect(at('/')).toBeUndefined()
})

test('an address that passes from one application to another in one change belongs to the other', () => {
  const [first, second] = ['first', 'second'].map(id => application(id, 'https://a.example.com/'))
  const index = new PublicationIndex(first ? [first] : [])
  index.apply([
    { before: undefined, after: second },
    { before: first, after: undefined },
  ])
  expect(find('a.example.com', '/', index)).toBe('second')
})

test('a list that a request holds does not change under it', () => {
  const before = application('wiki', 'https://wiki.example.com/')
  const index = new PublicationIndex([before])
  const held = index.at('wiki.example.com')
  index.apply([{ before: undefined, after: application('api', 'https://wiki.example.com/api/') }])
  index.apply([{ before, after: undefined }])
  expect(held).toEqual([{ prefix: '/', application: before }])
})

test('a redirect keeps protocol and port of the external URL under the host that was asked for', () => {
  const app = application('any', 'http://*.apps.localhost:8080/')
  expect(externalOrigin(app, 'one.apps.localhost')).toBe('http://one.apps.localhost:8080')
})
