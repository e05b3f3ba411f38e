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

test('a start that is repeated moves an application, and leaves who may use it to administrators', async () => {
  await using registry = await startTestRegistry()
  const api = { url: registry.url, token: adminToken }
  const status: Publication = { ...wiki, name: 'status', access: 'passthrough' }
  await publishAll(api, [wiki, status], place)
  await registry.send('PATCH', '/applications/wiki', { appRoleAssignmentRequired: true })
  await registry.send('PATCH', '/applications/status', {
    onPremisesPublishing: { externalAuthenticationType: 'aadPreAuthentication' },
  })
  const moved = [wiki, status].map(one => ({ ...one, internalUrl: 'http://elsewhere.internal/' }))
  const published = { internalUrl: 'http://elsewhere.internal/' }
  const signedIn = { externalAuthenticationType: 'aadPreAuthentication' }
  expect(await publishAll(api, moved, { ...place, port: 9090 })).toMatchObject([
    {
      id: 'status',
      onPremisesPublishing: {
        ...published,
        ...signedIn,
        externalUrl: 'http://status.sallyport.localhost:9090/',
      },
    },
    { id: 'wiki', appRoleAssignmentRequired: true, onPremisesPublishing: published },
  ])
})
