/** The options of `sallyport up`: what they mean, and that all problems are told at once, each with its fix. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ConfigurationError } from '#infra/config.ts'
import { issuerProblem } from '#infra/embedded/issuer-problem.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { type RawUpOptions, readUpOptions } from '#infra/embedded/up-options.ts'

const raw: RawUpOptions = {
  port: '8080',
  data: '.sallyport',
  publish: [],
  connectors: '1',
  gateways: '1',
  logLevel: 'warn',
}

/** The message of the refusal. */
function refusal(options: Partial<RawUpOptions>): string {
  try {
    readUpOptions({ ...raw, ...options })
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
  throw new Error('was not refused')
}

describe('--workers', () => {
  it('is left to the environment unless it is given', () => {
    expect(readUpOptions(raw).workers).toBeUndefined()
    expect(readUpOptions({ ...raw, workers: '3' }).workers).toBe(3)
    expect(readUpOptions({ ...raw, workers: 'auto' }).workers).toBeGreaterThanOrEqual(1)
  })

  it.each(['0', '1000', 'many'])('refuses %j', workers => {
    expect(refusal({ workers })).toContain(
      '--workers: must be a whole number from 1 to 256, or auto',
    )
  })
})

describe('--publish', () => {
  it('takes a name and a URL, for signed-in users unless it says passthrough', () => {
    const publish = ['wiki=http://127.0.0.1:3000', 'status=https://10.0.0.1/s,passthrough']
    expect(readUpOptions({ ...raw, publish }).publish).toEqual([
      {
        name: 'wiki',
        displayName: 'wiki',
        internalUrl: 'http://127.0.0.1:3000',
        access: 'signed-in',
      },
      {
        name: 'status',
        displayName: 'status',
        internalUrl: 'https://10.0.0.1/s',
        access: 'passthrough',
      },
    ])
  })

  it('keeps an equals sign of the URL', () => {
    const { publish } = readUpOptions({ ...raw, publish: ['wiki=http://h/a=b/'] })
    expect(publish[0]?.internalUrl).toBe('http://h/a=b/')
  })

  it.each([
    ['wiki', 'must be NAME=URL'],
    ['http://127.0.0.1:3000', 'must be NAME=URL'],
    ['=http://127.0.0.1:3000', 'the name must be'],
    ['Wiki=http://127.0.0.1:3000', 'lower-case'],
    ['my.wiki=http://127.0.0.1:3000', 'the name must be'],
    ['portal=http://127.0.0.1:3000', 'is the portal'],
    ['handbook=http://127.0.0.1:3000', 'is a sample application'],
    ['wiki=127.0.0.1:3000', 'must be an http:// or https:// URL'],
    ['wiki=ftp://127.0.0.1/', 'must be an http:// or https:// URL'],
    ['wiki=', 'must be an http:// or https:// URL'],
    ['wiki=http://user:password@127.0.0.1/', 'must have no query, fragment, user or password'],
    ['wiki=http://127.0.0.1/?a=1', 'must have no query'],
    ['wiki=http://127.0.0.1:3000,passtrough', 'only "passthrough" may follow the comma'],
    ['wiki=http://127.0.0.1:3000,', 'only "passthrough" may follow the comma'],
  ])('refuses %s', (value, reason) => {
    const message = refusal({ publish: [value] })
    expect(message).toContain(`--publish ${value}: `)
    expect(message).toContain(reason)
  })

  it('refuses a name that is given twice', () => {
    expect(refusal({ publish: ['wiki=http://a/', 'wiki=http://b/'] })).toContain('given twice')
  })
})

describe('options', () => {
  it('are refused all together, each named', () => {
    const message = refusal({
      port: '99999',
      data: '',
      connectors: 'many',
      gateways: '0',
      logLevel: 'loud',
      publish: ['wiki', 'a b=http://h/'],
      identityProvider: 'login.example.com',
    })
    for (const expected of [
      '--port: must be a port number',
      '--data: must name a folder',
      '--connectors: must be a whole number from 0 to 64',
      '--gateways: must be a whole number from 1 to 64',
      '--log-level: must be one of',
      '--publish wiki: ',
      '--publish a b=http://h/: ',
      '--client-id: is required',
      '--identity-provider: must be an https:// URL',
    ]) {
      expect(message).toContain(expected)
    }
  })

  it('never send sign-ins to a provider elsewhere without TLS', () => {
    const clientId = 'sallyport'
    const far = { identityProvider: 'http://login.example.com/', clientId }
    expect(refusal(far)).toContain('must be an https:// URL')
    const near = { identityProvider: 'http://localhost:9000/', clientId }
    expect(readUpOptions({ ...raw, ...near }).identityProvider?.issuer).toBe(
      'http://localhost:9000/',
    )
  })

  it('of a provider are refused without a provider', () => {
    const message = refusal({ clientId: 'a', clientSecretFile: 'b' })
    expect(message).toContain('--client-id: is for a provider of your own')
    expect(message).toContain('--client-secret-file: is for a provider of your own')
  })
})

describe('an identity provider that is named', () => {
  async function startProvider(own: (url: string) => unknown): Promise<string> {
    const server = createServer((_, response) => response.end(JSON.stringify(own(url))))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return url
  }

  it('is taken as it is when it spells itself so', async () => {
    const url = await startProvider(own => ({ issuer: own }))
    expect(await issuerProblem(url)).toBeUndefined()
  })

  it('is doubted when it does not answer, is none, or spells itself otherwise', async () => {
    const url = await startProvider(own => ({ issuer: own }))
    expect(await issuerProblem(`${url}/`)).toBe(
      `the provider spells its issuer ${url}, and not ${url}/`,
    )
    expect(await issuerProblem(await startProvider(() => 'a page'))).toContain('no OpenID provider')
    expect(await issuerProblem(`http://127.0.0.1:${await freePort()}`)).toContain('does not answer')
  })
})
