/**
 * Sign-in frequency over the whole path, with a provider whose users have authenticated when the test says: it is asked
 * with `max_age` when a policy wants a recent sign-in and else not, and what it answers is believed only as far as
 * `auth_time` goes.
 */

import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'
import { clientId, startTestProvider, type TestProvider } from '../policy/identity-provider.ts'

let origin: Origin
let provider: TestProvider
let system: TestSystem

const hosted = (name: string) => `http://${name}.sallyport.localhost:${system.port}/bytes/10?page=2`
const ago = (seconds: number) => ({ auth_time: Math.floor(Date.now() / 1_000) - seconds })
const twoHours = 7_200

beforeAll(async () => {
  origin = await startOrigin()
  provider = await startTestProvider()
  system = await startSystem({
    identityProvider: { issuer: provider.issuer, clientId },
    publish: ['wiki', 'mail'].map(name => signedInApplication(name, origin.url)),
  })
  await administer(system, 'POST', '/identity/conditionalAccess/policies', {
    displayName: 'Hourly',
    state: 'enabled',
    conditions: {
      users: { includeUsers: ['All'] },
      applications: { includeApplications: ['wiki'] },
    },
    sessionControls: { signInFrequency: { isEnabled: true, type: 'hours', value: 1 } },
  })
})
afterAll(async () => {
  await system?.[Symbol.asyncDispose]()
  await provider[Symbol.asyncDispose]()
  await origin[Symbol.asyncDispose]()
})

/** A browser that was signed in at the other application two hours ago. */
async function signedInLongAgo(): Promise<UserAgent> {
  const agent = new UserAgent()
  onTestFinished(() => agent[Symbol.dispose]())
  provider.vouchFor(ago(twoHours))
  expect(await agent.visit(hosted('mail'))).toMatchObject({ status: 200, url: hosted('mail') })
  expect(provider.asked.at(-1)?.has('max_age')).toBe(false)
  return agent
}

test('a sign-in that is too old is made anew with max_age, and the user is where they were', async () => {
  const agent = await signedInLongAgo()
  const before = provider.asked.length
  provider.vouchFor(ago(5))
  expect(await agent.visit(hosted('wiki'))).toMatchObject({ status: 200, url: hosted('wiki') })
  expect(provider.asked.slice(before).map(query => query.get('max_age'))).toEqual(['3600'])
  expect(await agent.visit(hosted('wiki'))).toMatchObject({ status: 200 })
  expect(await agent.visit(hosted('mail'))).toMatchObject({ status: 200 })
  expect(provider.asked.length).toBe(before + 1)
})

test.each([
  ['an older sign-in than was wanted', ago(twoHours)],
  ['no time of the sign-in', { auth_time: undefined }],
])('a provider that answers with %s is asked once, and the user is told', async (_, claims) => {
  const agent = await signedInLongAgo()
  const before = provider.asked.length
  provider.vouchFor(claims)
  const page = await agent.visit(hosted('wiki'))
  expect(page.status).toBe(403)
  expect(page.text).toContain('This needs a more recent sign-in.')
  expect(provider.asked.slice(before).map(query => query.get('max_age'))).toEqual(['3600'])
  expect(await agent.visit(hosted('mail'))).toMatchObject({ status: 200 })
})
