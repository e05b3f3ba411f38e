import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { startRegistry } from '../../registry/registry.ts'
import {
  adminClient,
  adminToken,
  listen,
  publish,
  type Received,
  registryConfig,
  startTestRegistry,
  type TestRegistry,
} from './fixture.ts'

let registry: TestRegistry

beforeAll(async () => {
  registry = await startTestRegistry()
})
afterAll(() => registry[Symbol.asyncDispose]())

describe('the token', () => {
  test.each([
    ['no token', undefined],
    ['a wrong token', 'Bearer wrong'],
    ['the right token with something behind it', `Bearer ${adminToken}x`],
    ['a part of the right token', `Bearer ${adminToken.slice(0, -1)}`],
    ['the right token in another scheme', `Basic ${adminToken}`],
    ['two tokens', `Bearer wrong, Bearer ${adminToken}`],
  ])('%s opens nothing', async (_, authorization) => {
    for (const path of ['/v1.0/applications', '/beta/applications/wiki']) {
      const headers = authorization === undefined ? {} : { authorization }
      const response = await fetch(registry.url + path, { headers })
      expect(response.status).toBe(401)
      expect(response.headers.get('www-authenticate')).toContain('Bearer')
      const body = await response.json()
      expect(body).toMatchObject({
        code: 'unauthenticated',
        error: { code: 'InvalidAuthenticationToken' },
      })
      expect(JSON.stringify(body)).not.toContain('wrong,')
    }
  })

  test('whoever comes without it is audited, also when only reading', async () => {
    const heard = await listen(registry.nats, 'auditor', subjects.auditsLike('admin'))
    // Events of the tests before may still be on their way.
    const resources = ['applications/only-here', 'connectorGroups']
    const events = () => heard.filter(({ resource }) => resources.includes(String(resource)))
    await fetch(`${registry.url}/v1.0/connectorGroups?secret=1`)
    await fetch(`${registry.url}/beta/applications/only-here`, { method: 'DELETE' })
    await expect.poll(events).toHaveLength(2)
    const refused = { outcome: 'refused', actor: 'unauthenticated' }
    expect(events()).toMatchObject([
      { ...refused, resource: 'connectorGroups', application: null },
      { ...refused, resource: 'applications/only-here', application: 'only-here' },
    ])
  })

  test('is not needed to read what this is', async () => {
    const page = await fetch(registry.url)
    expect(await page.text()).toContain('Sallyport registry')
    const description: Received = await (await fetch(`${registry.url}/openapi.json`)).json()
    expect(description.openapi).toBe('3.1.0')
    expect(description.servers).toEqual([{ url: '/v1.0' }, { url: '/beta' }])
  })
})

describe('problems', () => {
  test('have the form of RFC 9457 and of Microsoft Graph at once', async () => {
    const response = await fetch(`${registry.url}/v1.0/applications/nothing`, {
      headers: { authorization: `Bearer ${adminToken}` },
    })
    expect(response.headers.get('content-type')).toContain('application/problem+json')
    const detail = 'there is no application "nothing"'
    expect(await response.json()).toMatchObject({
      type: 'urn:sallyport:fault:resource_not_found',
      title: expect.any(String),
      status: 404,
      detail,
      code: 'resource_not_found',
      instance: '/v1.0/applications/nothing',
      errors: [],
      error: { code: 'Request_ResourceNotFound', message: detail },
    })
  })

  test.each([
    ['a body that is not JSON', { body: '{', type: 'application/json' }, 400],
    ['a body that is not an object', { body: '[1]', type: 'application/json' }, 400],
    [
      'a body that is nested without end',
      {
        body: `{"id":"deep","onPremisesPublishing":{"wafIpRanges":${'['.repeat(50_000)}${']'.repeat(50_000)}}}`,
        type: 'application/json',
      },
      400,
    ],
    [
      'a body that is nothing but nested lists',
      { body: `${'['.repeat(50_000)}${']'.repeat(50_000)}`, type: 'application/json' },
      400,
    ],
    ['a body of another media type', { body: 'a=1', type: 'text/plain' }, 415],
    [
      'a body that is too large',
      { body: `"${'x'.repeat(1_100_000)}"`, type: 'application/json' },
      413,
    ],
  ])('%s is refused', async (_, { body, type }, status) => {
    const response = await fetch(`${registry.url}/v1.0/applications`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken}`, 'content-type': type },
      body,
    })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ status, error: { message: expect.any(String) } })
  })

  test('what is nested too deeply is named, with the limit', async () => {
    const within = (levels: number): unknown => (levels === 0 ? 1 : [within(levels - 1)])
    const body = { id: 'deep', conditions: { users: within(200) } }
    const answer = await registry.send('POST', '/identity/conditionalAccess/policies', body)
    expect(answer.status).toBe(400)
    expect(answer.body.errors).toEqual([
      { property: 'conditions.users', message: 'is nested too deeply: 64 levels at most' },
    ])
  })

  test('a path that cannot be read is refused like any other, and needs the token too', async () => {
    const heard = await listen(registry.nats, 'auditor', subjects.auditsLike('admin'))
    const paths = ['/applications/%zz', `/applications/${'x'.repeat(2_000)}`]
    for (const path of paths) {
      const answer = await registry.send('DELETE', path)
      expect(answer.headers.get('content-type')).toContain('application/problem+json')
      expect(answer.headers.get('request-id')).toBe(answer.body.requestId)
      expect(answer.body).toMatchObject({ status: 400, code: 'bad_request' })
    }
    expect((await fetch(`${registry.url}/v1.0${paths[0]}`)).status).toBe(401)
    const actors = () =>
      heard.filter(({ resource }) => /zz|xxx/.test(String(resource))).map(({ actor }) => actor)
    await expect.poll(actors).toEqual(['administrator', 'administrator', 'unauthenticated'])
  })

  test('a request without a body may name a media type', async () => {
    const json = { 'content-type': 'application/json' }
    const path = '/users/ada@example.com/revokeSignInSessions'
    expect((await registry.send('POST', path, undefined, json)).status).toBe(200)
    await publish(registry, 'bodiless')
    const application = '/applications/bodiless'
    const patched = await registry.send('PATCH', application, undefined, json)
    expect({ status: patched.status, errors: patched.body.errors }).toEqual({
      status: 400,
      errors: [{ property: 'body', message: expect.any(String) }],
    })
    expect((await registry.send('DELETE', application, undefined, json)).status).toBe(204)
  })

  test('a method that a path does not take is told from a path that does not exist', async () => {
    const wrong = await registry.send('PUT', '/applications', {})
    expect(wrong.status).toBe(405)
    expect(wrong.headers.get('allow')).toContain('POST')
    expect((await registry.send('GET', '/nowhere')).status).toBe(404)
  })
})

describe('paths', () => {
  test('are the same under /beta, and in any case', async () => {
    await publish(registry, 'cased')
    const headers = { authorization: `Bearer ${adminToken}` }
    for (const path of [
      '/beta/applications/cased',
      '/V1.0/Applications/cased/onpremisespublishing',
      '/v1.0/onPremisesPublishingProfiles/applicationproxy/connectorgroups',
    ]) {
      expect((await fetch(registry.url + path, { headers })).status, path).toBe(200)
    }
  })

  test('lists come in pages that together hold everything once', async () => {
    for (let number = 10; number < 17; number++) await publish(registry, `page-${number}`)
    const ids: string[] = []
    let path = '/applications?$top=3'
    for (let pages = 1; path !== ''; pages++) {
      const { body } = await registry.send('GET', path)
      expect(body.value.length).toBeLessThanOrEqual(3)
      ids.push(...body.value.map(({ id }: { id: string }) => id))
      const link: string | undefined = body['@odata.nextLink']
      if (link !== undefined) expect(link.startsWith(`${registry.url}/v1.0/`)).toBe(true)
      path = link?.slice(`${registry.url}/v1.0`.length) ?? ''
      if (pages === 1) await registry.send('DELETE', `/applications/${ids[0]}`)
    }
    expect(ids.filter(id => id.startsWith('page-'))).toHaveLength(7)
    expect(new Set(ids).size).toBe(ids.length)
  })

  test.each(['0', '1000', '-1', 'many'])('a page of %s items is refused', async size => {
    const answer = await registry.send('GET', `/applications?$top=${size}`)
    expect(answer.body.errors).toMatchObject([{ property: '$top' }])
  })
})

test('a port that is taken is refused with the name of its variable', async () => {
  const { port } = new URL(registry.url)
  const config = registryConfig(registry.nats, { SALLYPORT_REGISTRY_PORT: port })
  await expect(startRegistry(config)).rejects.toThrow(
    `cannot listen on 127.0.0.1:${port}: another program uses this port; stop it, or set SALLYPORT_REGISTRY_PORT`,
  )
})

test('a client that never sends the rest of its request does not keep a registry from stopping', async () => {
  await using other = await startRegistry(registryConfig(registry.nats))
  const { hostname, port } = new URL(adminClient(other).url)
  const sockets = [adminToken, 'wrong'].map(token => {
    const socket = connect(Number(port), hostname)
    socket.write(
      `POST /v1.0/applications HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    )
    return socket
  })
  await once(sockets[1] as Socket, 'data')
  const ended = Promise.all(sockets.map(socket => once(socket, 'close')))
  await other[Symbol.asyncDispose]()
  await ended
})

test('while the bus is away, reading goes on and a change is refused at once', async () => {
  await using other = await startTestRegistry()
  await publish(other, 'kept')
  await other.nats.kill()
  await expect.poll(async () => (await publish(other, 'lost')).status).toBe(503)
  expect((await other.send('GET', '/applications/kept')).status).toBe(200)
  await other.nats.restart()
  await expect
    .poll(async () => (await publish(other, 'later')).status, { timeout: 15_000 })
    .toBe(201)
})
