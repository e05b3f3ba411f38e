/** Which other origins an application lets in, as an administrator says it. */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publish, startTestRegistry, type TestRegistry } from './fixture.ts'

let registry: TestRegistry
beforeAll(async () => {
  registry = await startTestRegistry()
  await publish(registry, 'wiki')
})
afterAll(() => registry[Symbol.asyncDispose]())

const path = '/applications/wiki/onPremisesPublishing'
const set = (corsConfigurations: unknown) => registry.send('PATCH', path, { corsConfigurations })
const configurations = async () => (await registry.send('GET', path)).body.corsConfigurations
const app = 'https://app.example.com'

test('nobody is let in unless somebody says so, and null takes it back', async () => {
  expect(await configurations()).toEqual([])
  expect((await set([{ allowedOrigins: [app] }])).status).toBe(204)
  expect(await configurations()).toEqual([
    {
      resource: '/',
      allowedOrigins: [app],
      allowedMethods: ['GET', 'HEAD', 'POST'],
      allowedHeaders: [],
      maxAgeInSeconds: 600,
    },
  ])
  expect((await set(null)).status).toBe(204)
  expect(await configurations()).toEqual([])
})

test('what Graph answers for an application segment is taken as it is', async () => {
  const graph = {
    '@odata.type': '#microsoft.graph.corsConfiguration_v2',
    id: 'ed7a4e4c-2f1c-4b7a-8d0e-0a2b6f7f3c11',
    resource: '/api',
    allowedOrigins: [app, 'https://app.example.com:8443', 'null'],
    allowedMethods: ['GET', 'PUT'],
    allowedHeaders: ['Content-Type', 'X-*', '*'],
    maxAgeInSeconds: 0,
  }
  expect((await set([graph])).status).toBe(204)
  const { '@odata.type': _, id: __, ...kept } = graph
  expect(await configurations()).toEqual([kept])
})

describe('is refused by the name of the property, and what is in force stays', () => {
  test.each([
    ['any origin', { allowedOrigins: ['*'] }, 'allowedOrigins.0', 'There is no star'],
    ['an origin with a path', { allowedOrigins: [`${app}/`] }, 'allowedOrigins.0', 'no path'],
    ['in capitals', { allowedOrigins: ['https://App.example.com'] }, 'allowedOrigins.0', 'lower'],
    ['its usual port', { allowedOrigins: [`${app}:443`] }, 'allowedOrigins.0', 'no usual port'],
    ['a bare host', { allowedOrigins: ['app.example.com'] }, 'allowedOrigins.0', 'scheme'],
    ['another scheme', { allowedOrigins: ['ftp://a.example'] }, 'allowedOrigins.0', 'origin as'],
    ['a wildcard host', { allowedOrigins: ['https://*.a.example'] }, 'allowedOrigins.0', 'no star'],
    ['no origin', { allowedOrigins: [] }, 'allowedOrigins', 'must name an origin'],
    ['what is no list', { allowedOrigins: app }, 'allowedOrigins', 'must be a list of origins'],
    ['nobody', {}, 'allowedOrigins', 'must be a list of origins'],
    ['a path without a slash', { resource: 'api' }, 'resource', 'such as "/api"'],
    ['a path that may be read in two ways', { resource: '/a/../b' }, 'resource', 'dot segments'],
    ['an encoded path', { resource: '/%61pi' }, 'resource', 'without query, "%"'],
    ['a method that is none', { allowedMethods: ['GET POST'] }, 'allowedMethods.0', '"PUT"'],
    ['a star within', { allowedHeaders: ['X-*-Id'] }, 'allowedHeaders.0', 'with a star'],
    ['an age', { maxAgeInSeconds: 86_401 }, 'maxAgeInSeconds', 'from 0 to 86400'],
    ['what is not known', { allowedOrigin: app }, '', 'allowedOrigin'],
  ])('%s', async (_, wrong, property, words) => {
    await set([{ allowedOrigins: [app] }])
    const first = { allowedOrigins: [app], ...wrong }
    const isBare = Object.keys(wrong).length === 0
    const { status, body } = await set([isBare ? {} : first])
    expect(status).toBe(400)
    const name = ['corsConfigurations.0', property].filter(Boolean).join('.')
    const said = body.errors.find((each: { property: string }) => each.property.startsWith(name))
    expect(said, JSON.stringify(body.errors)).toBeDefined()
    expect(JSON.stringify(said)).toContain(words.replaceAll('"', '\\"'))
    expect(await configurations()).toMatchObject([{ allowedOrigins: [app] }])
  })

  test('more than fifty', async () => {
    const { status, body } = await set(Array(51).fill({ allowedOrigins: [app] }))
    expect([status, body.errors[0].message]).toEqual([400, 'must be at most 50'])
  })
})

test('the OpenAPI document says what it means', async () => {
  const document = await (await fetch(`${registry.url}/openapi.json`)).text()
  expect(document).toContain('Pages of which other origins may ask the application')
  expect(document).toContain('How long browsers may remember the answer to a preflight')
})

describe('sallyport publish --allow-origin', () => {
  const run = (...args: string[]) => registry.run('publish', 'cli=http://cli.internal/', ...args)

  test('lets origins in, everywhere or below a path, shows it, and takes it back', async () => {
    const login = 'https://login.example.com=/saml/acs'
    const first = await run('--allow-origin', app, '--allow-origin', login)
    expect(first).toMatchObject({ status: 0, stderr: '' })
    expect(first.stdout).toMatch(/^ {2}other origins {4}https:\/\/app\.example\.com$/m)
    expect(first.stdout).toContain('https://login.example.com below /saml/acs\n')
    const any = { allowedMethods: ['*'], allowedHeaders: ['*'] }
    const second = JSON.parse((await run('--json')).stdout)
    expect(second.onPremisesPublishing.corsConfigurations).toMatchObject([
      { resource: '/', allowedOrigins: [app], ...any },
      { resource: '/saml/acs', allowedOrigins: ['https://login.example.com'], ...any },
    ])
    const third = await run('--allow-origin', 'default')
    expect(third.stdout).not.toContain('other origins')
  })

  test('refuses what is no origin by the name of the option', async () => {
    const { status, stderr } = await run('--allow-origin', 'app.example.com')
    expect(status).toBe(1)
    expect(stderr).toContain('--allow-origin: must be an origin as browsers write it')
  })
})
