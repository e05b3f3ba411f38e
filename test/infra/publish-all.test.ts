/** What `sallyport up` publishes at every start, next to what administrators have made of the same registry. */

import { expect, test } from 'vitest'
import type { Publication } from '#infra/embedded/publications.ts'
import { publishAll } from '#infra/embedded/publish-all.ts'
import { adminToken, startTestRegistry } from '../registry/fixture.ts'

const place = { port: 8080, scheme: 'http' } as const

const wiki: Publication = {
  name: 'wiki',
  displayName: 'wiki',
  internalUrl: 'http://wiki.internal/',
  access: 'signed-in',
}

test('a start leaves alone what is registered and not published, unless it is asked to publish it', async () => {
  await using registry = await startTestRegistry()
  const api = { url: registry.url, token: adminToken }
  for (const displayName of ['Wiki', 'Draft']) {
    await registry.send('POST', '/applications', { displayName })
  }
  expect(await publishAll(api, [], place)).toEqual([])
  expect(await publishAll(api, [wiki], place)).toMatchObject([
    { id: 'wiki', onPremisesPublishing: { internalUrl: wiki.internalUrl } },
  ])
  const draft = await registry.send('GET', '/applications/draft')
  expect(draft.body.onPremisesPublishing).toBeNull()
})
