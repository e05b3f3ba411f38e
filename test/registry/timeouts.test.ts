/** The time-outs of an application, as an administrator sets them. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type OnPremisesPublishing, originTimeoutsMs } from '#infra/contracts/application.ts'
import { publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry
beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'wiki')
})
afterAll(() => registry[Symbol.asyncDispose]())

const path = '/applications/wiki/onPremisesPublishing'
const timeouts = async () => {
  const { body } = await registry.send('GET', path)
  return originTimeoutsMs(body as OnPremisesPublishing)
}

test('unless something else is said: 10 s to connect, 85 s of silence, quiet streams for ever', async () => {
  expect(await timeouts()).toEqual({
    connect: 10_000,
    firstByte: 85_000,
    idle: 85_000,
    streamIdle: Number.POSITIVE_INFINITY,
  })
})

test.each([
  ['long', 'long', 180_000],
  ['Long', 'long', 180_000],
  ['Default', 'default', 85_000],
])('the name %s is taken as Graph and its exports spell it', async (name, stored, ms) => {
  const answer = await registry.send('PATCH', path, { applicationServerTimeout: name })
  expect(answer.status).toBe(204)
  const { body } = await registry.send('GET', path)
  expect(body.applicationServerTimeout).toBe(stored)
  expect(await timeouts()).toMatchObject({ firstByte: ms, idle: ms })
})

test('each can be set in seconds beside the name, and null gives it back to the name', async () => {
  const own = {
    connectTimeoutInSeconds: 3,
    firstByteTimeoutInSeconds: 600,
    idleTimeoutInSeconds: 30,
    streamIdleTimeoutInSeconds: 7_200,
  }
  await registry.send('PATCH', path, own)
  expect((await registry.send('GET', path)).body).toMatchObject(own)
  expect(await timeouts()).toEqual({
    connect: 3_000,
    firstByte: 600_000,
    idle: 30_000,
    streamIdle: 7_200_000,
  })
  await registry.send('PATCH', path, {
    applicationServerTimeout: 'long',
    idleTimeoutInSeconds: null,
  })
  expect(await timeouts()).toMatchObject({ firstByte: 600_000, idle: 180_000 })
})

describe('what is out of bounds is refused by the name of the property', () => {
  test.each([
    ['connectTimeoutInSeconds', 0, 600],
    ['connectTimeoutInSeconds', 601, 600],
    ['firstByteTimeoutInSeconds', -1, 86_400],
    ['idleTimeoutInSeconds', 1.5, 86_400],
    ['idleTimeoutInSeconds', '30', 86_400],
    ['streamIdleTimeoutInSeconds', 604_801, 604_800],
  ])('%s: %j', async (property, value, most) => {
    const { status, body } = await registry.send('PATCH', path, { [property]: value })
    expect(status).toBe(400)
    const message = `must be a whole number of seconds from 1 to ${most}, or null for the default`
    expect(body.errors).toEqual([{ property, message }])
  })
})

test('the OpenAPI document says what each of them means', async () => {
  const document = await (await fetch(`${registry.url}/openapi.json`)).text()
  expect(document).toContain('where these are not set: 85 s, or 180 s with long')
  expect(document).toContain('How long a TCP and TLS connection to the application may take')
  expect(document).toContain('From the end of the request to the head of the answer')
  expect(document).toContain('How long no byte may go either way within a body')
  expect(document).toContain('The same for what may be quiet for long')
})

describe('sallyport publish', () => {
  const run = (...args: string[]) => registry.run('publish', 'cli=http://cli.internal/', ...args)

  test('sets them, leaves alone what it does not name, and takes one back by "default"', async () => {
    const all = ['--timeout', 'long', '--connect-timeout', '5', '--first-byte-timeout', '300']
    const first = await run(...all, '--idle-timeout', '60', '--stream-idle-timeout', '3600')
    expect(first).toMatchObject({ status: 0, stderr: '' })
    const second = await run('--idle-timeout', 'default', '--json')
    expect(JSON.parse(second.stdout).onPremisesPublishing).toMatchObject({
      applicationServerTimeout: 'long',
      connectTimeoutInSeconds: 5,
      firstByteTimeoutInSeconds: 300,
      idleTimeoutInSeconds: null,
      streamIdleTimeoutInSeconds: 3_600,
    })
  })

  test.each([
    ['--timeout', 'forever', 'default, long'],
    ['--idle-timeout', '1m', 'Write whole seconds, or default.'],
    ['--connect-timeout', '601', 'from 1 to 600'],
  ])('refuses %s %s and says what it takes', async (option, value, words) => {
    const { status, stderr } = await run(option, value)
    expect(status).not.toBe(0)
    expect(stderr).toContain(words)
  })
})
