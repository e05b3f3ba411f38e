/** Which application a host and a path belong to. */

import { expect, test } from 'vitest'
import { applicationAt, externalOrigin, indexApplications } from '../../gateway/publish.ts'
import { application } from '../harness/application.ts'

const publication = indexApplications([
  application('wiki', 'https://wiki.example.com/'),
  application('wiki-admin', 'https://wiki.example.com/admin/'),
  application('any', 'https://*.apps.example.com/'),
  application('nested', 'https://*.dev.apps.example.com/'),
  application('exact', 'https://one.apps.example.com/'),
  application('only-path', 'https://tools.example.com/grafana/'),
])

const find = (hostname: string, path: string) => {
  const paths = publication.at(hostname)
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

test('a look-up costs the same with a hundred thousand applications', () => {
  const many = indexApplications(
    Array.from({ length: 100_000 }, (_, i) => application(`a${i}`, `https://a${i}.example.com/`)),
  )
  const startedAt = performance.now()
  for (let i = 0; i < 100_000; i++) many.at(`a${i}.example.com`)
  expect(performance.now() - startedAt).toBeLessThan(500)
})

test('a redirect keeps protocol and port of the external URL under the host that was asked for', () => {
  const app = application('any', 'http://*.apps.localhost:8080/')
  expect(externalOrigin(app, 'one.apps.localhost')).toBe('http://one.apps.localhost:8080')
})
