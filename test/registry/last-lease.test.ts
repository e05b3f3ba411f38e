/** What becomes of an application while policy is away, as an administrator sets it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry
beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'wiki')
})
afterAll(() => registry[Symbol.asyncDispose]())

const path = '/applications/wiki/onPremisesPublishing'
const patch = (body: object) => registry.send('PATCH', path, body)
const present = async () => (await registry.send('GET', path)).body
const closed = { whenPolicyIsUnavailable: 'failClosed', lastLeaseMinutes: 5 }

test('it closes unless something else is said, and null takes that back', async () => {
  expect(await present()).toMatchObject(closed)
  const lasting = { whenPolicyIsUnavailable: 'lastLease', lastLeaseMinutes: 8 }
  expect((await patch(lasting)).status).toBe(204)
  expect(await present()).toMatchObject(lasting)
  await patch({ whenPolicyIsUnavailable: null, lastLeaseMinutes: null })
  expect(await present()).toMatchObject(closed)
})

describe('what cannot be kept is refused by the name of the property', () => {
  const minutes = 'must be a whole number of minutes from 1 to 8'
  test.each([
    ['lastLeaseMinutes', 0, minutes],
    ['lastLeaseMinutes', 9, minutes],
    ['lastLeaseMinutes', 1.5, minutes],
    ['lastLeaseMinutes', '5', minutes],
    ['whenPolicyIsUnavailable', 'failOpen', 'must be failClosed or lastLease'],
  ])('%s: %j', async (property, value, message) => {
    const { status, body } = await patch({ [property]: value })
    expect(status).toBe(400)
    expect(body.errors).toEqual([{ property, message }])
  })

  test('a last lease beside a signed assertion, which has ended by then', async () => {
    const singleSignOnSettings = {
      singleSignOnMode: 'signedAssertion',
      assertionSignOnSettings: {},
    }
    const { status, body } = await patch({
      whenPolicyIsUnavailable: 'lastLease',
      singleSignOnSettings,
    })
    expect(status).toBe(400)
    expect(JSON.stringify(body.errors)).toContain('a signed assertion ends with its lease')
    expect((await patch({ singleSignOnSettings })).status).toBe(204)
    expect(await present()).toMatchObject(closed)
  })
})

test('the OpenAPI document says what is meant', async () => {
  const document = await (await fetch(`${registry.url}/openapi.json`)).text()
  expect(document).toContain('What becomes of a lease that ends while no policy service answers')
  expect(document).toContain('For how long after its end the last lease may be used')
})

describe('sallyport publish --last-lease', () => {
  const run = (...args: string[]) => registry.run('publish', 'cli=http://cli.internal/', ...args)

  test('sets the minutes, shows them, and takes them back by "default"', async () => {
    const shown = await run('--last-lease', '3')
    expect(shown).toMatchObject({ status: 0, stderr: '' })
    expect(shown.stdout).toContain('without policy   last leases go on for 3 min')
    const after = await run('--last-lease', 'default', '--json')
    expect(JSON.parse(after.stdout).onPremisesPublishing).toMatchObject(closed)
  })

  test('refuses what is no number of minutes', async () => {
    const { status, stderr } = await run('--last-lease', 'soon')
    expect(status).not.toBe(0)
    expect(stderr).toContain('Write whole minutes, or default.')
  })
})
