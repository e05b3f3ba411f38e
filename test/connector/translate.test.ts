/** Between external and internal URLs: what names the application is changed, everything else keeps its bytes. */

import { describe, expect, test } from 'vitest'
import {
  internalTarget,
  requestHeaders,
  responseHeaders,
  toExternal,
  translationOf,
} from '../../connector/translate.ts'
import { application } from '../harness/application.ts'

const asked = ['Host', 'wiki.example.com', 'X-Forwarded-Proto', 'https']
const root = translationOf(
  application('wiki', 'https://wiki.example.com/', { internalUrl: 'http://wiki.corp:3000/' }),
  asked,
)
const path = translationOf(
  application('wiki', 'https://wiki.example.com/docs/', { internalUrl: 'http://wiki.corp/w/' }),
  asked,
)

describe('the request', () => {
  test('goes to the internal path, query and escapes untouched', () => {
    expect(internalTarget(root, '/a%20b?c=%zz')).toBe('/a%20b?c=%zz')
    expect(internalTarget(path, '/docs/a?b')).toBe('/w/a?b')
    expect(internalTarget(path, '/docs')).toBe('/w/')
  })

  test('keeps its query where the folder comes without its slash, and every slash below it', () => {
    expect(internalTarget(path, '/docs?page=2')).toBe('/w/?page=2')
    expect(internalTarget(path, '/docs/?page=2')).toBe('/w/?page=2')
    expect(internalTarget(path, '/docs//a')).toBe('/w//a')
    expect(internalTarget(path, '/docsa?b')).toBe('/docsa?b')
  })

  test('names the internal host, and the pages it comes from as the origin knows them', () => {
    const headers = ['Origin', 'https://wiki.example.com', 'Referer', 'https://wiki.example.com/x']
    expect(requestHeaders(root, [...asked, ...headers])).toEqual([
      ...['Host', 'wiki.corp:3000', 'X-Forwarded-Proto', 'https'],
      ...['Origin', 'http://wiki.corp:3000', 'Referer', 'http://wiki.corp:3000/x'],
    ])
  })

  test('keeps the external host where the application is set so', () => {
    const app = application('wiki', 'https://wiki.example.com/', {
      publishing: { isTranslateHostHeaderEnabled: false },
    })
    expect(requestHeaders(translationOf(app, asked), asked)).toEqual(asked)
  })

  test('says where to copy to by the internal path, whatever host the origin sees', () => {
    const to = (destination: string, publishing = {}) => {
      const internalUrl = 'http://wiki.corp/w/'
      const app = application('wiki', 'https://wiki.example.com/docs/', { internalUrl, publishing })
      const translation = translationOf(app, asked)
      return requestHeaders(translation, [...asked, 'Destination', destination]).at(-1)
    }
    expect(to('https://wiki.example.com/docs/a')).toBe('http://wiki.corp/w/a')
    expect(to('/docs/a')).toBe('/w/a')
    const keepsHost = { isTranslateHostHeaderEnabled: false }
    expect(to('https://wiki.example.com/docs/a', keepsHost)).toBe('https://wiki.example.com/w/a')
    expect(to('/docs/a', keepsHost)).toBe('/w/a')
  })
})

describe('the conditions of WebDAV (RFC 4918 §10.4)', () => {
  const asks = (value: string, translation = path) =>
    requestHeaders(translation, [...asked, 'If', value]).at(-1)

  test('are asked of the resources as the origin knows them, states keep their names', () => {
    const states = '(<urn:uuid:1> ["etag"]) (Not <DAV:no-lock>)'
    expect(asks(`<https://wiki.example.com/docs/a> ${states} </docs/b> ${states}`)).toBe(
      `<http://wiki.corp/w/a> ${states} </w/b> ${states}`,
    )
    expect(asks(`<https://wiki.example.com/a> ${states}`, root)).toBe(
      `<http://wiki.corp:3000/a> ${states}`,
    )
    const others = `<https://elsewhere.example/docs/a> ${states}`
    for (const value of [states, others]) expect(asks(value)).toBe(value)
  })

  test('take no longer where they have no end', () => {
    const begun = performance.now()
    const endless = '<'.repeat(60_000)
    expect(asks(endless) === endless).toBe(true)
    expect(performance.now() - begun).toBeLessThan(500)
  })
})

describe('a URL in the response', () => {
  test.each([
    ['http://wiki.corp:3000/login', 'https://wiki.example.com/login'],
    ['http://WIKI.corp:3000', 'https://wiki.example.com/'],
    ['//wiki.corp:3000/x', 'https://wiki.example.com/x'],
    ['http://wiki.example.com/x', 'https://wiki.example.com/x'],
    ['/x?y', '/x?y'],
    ['x', 'x'],
    ['https://elsewhere.example/x', 'https://elsewhere.example/x'],
    ['http://wiki.corp:4000/x', 'http://wiki.corp:4000/x'],
    ['http://wiki.corp.evil.example/x', 'http://wiki.corp.evil.example/x'],
    ['mailto:a@wiki.corp', 'mailto:a@wiki.corp'],
  ])('%s becomes %s', (from, to) => expect(toExternal(root, from)).toBe(to))

  test('gets the external path prefix back', () => {
    expect(toExternal(path, '/w/a')).toBe('/docs/a')
    expect(toExternal(path, 'http://wiki.corp/w/a')).toBe('https://wiki.example.com/docs/a')
    expect(toExternal(path, '/w?page=2')).toBe('/docs/?page=2')
    expect(toExternal(path, 'http://wiki.corp/w#top')).toBe('https://wiki.example.com/docs/#top')
    expect(toExternal(path, '/other')).toBe('/other')
  })
})

test('an origin that knows its external URL is understood, whether it names the folder or not', () => {
  const folder = application('wiki', 'https://wiki.example.com/docs/')
  const translation = translationOf(folder, asked)
  for (const url of ['https://wiki.example.com/docs/a?b', 'http://wiki.example.com/a?b'])
    expect(toExternal(translation, url)).toBe('https://wiki.example.com/docs/a?b')
})

test('what lies below the internal path never becomes the name of a host', () => {
  const folder = application('wiki', 'https://wiki.example.com/', {
    internalUrl: 'http://wiki.corp/w/',
  })
  const translation = translationOf(folder, asked)
  expect(toExternal(translation, '/w///evil.example/x')).toBe('/evil.example/x')
})

describe('cookies of the origin', () => {
  const cookie = (value: string, translation = root) =>
    responseHeaders(translation, ['Set-Cookie', value])[1]

  test('lose a Domain, which the external host has no use for, and keep everything else byte for byte', () => {
    expect(cookie('a=b; Domain=.corp; Path=/; SameSite=None;  Partitioned')).toBe(
      'a=b; Path=/; SameSite=None;  Partitioned',
    )
    expect(cookie('a=; Max-Age=0')).toBe('a=; Max-Age=0')
    expect(cookie('a="x=y"; secure;HttpOnly ')).toBe('a="x=y"; secure;HttpOnly ')
  })

  test('get the external path', () => {
    expect(cookie('a=b; path=/w/x', path)).toBe('a=b; path=/docs/x')
  })

  test('keep the path that their name demands', () => {
    const folder = application('wiki', 'https://wiki.example.com/docs/')
    const translation = translationOf(folder, asked)
    expect(cookie('a=b; Path=/', translation)).toBe('a=b; Path=/docs/')
    for (const name of ['__Host-csrf', '__host-csrf'])
      expect(cookie(`${name}=b; Secure; Path=/`, translation)).toBe(`${name}=b; Secure; Path=/`)
  })

  test.each(['a=b; Path="/w"', 'a=b; Path=', 'a=b; Path=w; Secure'])(
    'keep what is called a path and is none, of which browsers make one: %s',
    value => {
      for (const translation of [root, path]) expect(cookie(value, translation)).toBe(value)
    },
  )

  test('never take a name of ours', () => {
    expect(responseHeaders(root, ['Set-Cookie', '__Host-sallyport=x; Path=/'])).toEqual([])
    expect(responseHeaders(root, ['set-cookie', ' __Host-sallyport-nonce=x'])).toEqual([])
    expect(responseHeaders(root, ['set-cookie', ' = __Host-sallyport=x; Path=/'])).toEqual([])
  })

  test('stay one header line each', () => {
    const headers = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2']
    expect(responseHeaders(root, headers)).toEqual(headers)
  })
})

test('headers that name the origin are translated wherever HTTP puts URLs', () => {
  const headers = [
    ...[
      'Refresh',
      "5; url='http://wiki.corp:3000/a'",
      'Link',
      '<http://wiki.corp:3000/b>; rel=next',
    ],
    ...['Content-Location', 'http://wiki.corp:3000/c'],
    ...['Access-Control-Allow-Origin', 'http://wiki.corp:3000'],
  ]
  expect(responseHeaders(root, headers)).toEqual([
    ...[
      'Refresh',
      "5; url='https://wiki.example.com/a'",
      'Link',
      '<https://wiki.example.com/b>; rel=next',
    ],
    ...['Content-Location', 'https://wiki.example.com/c'],
    ...['Access-Control-Allow-Origin', 'https://wiki.example.com'],
  ])
})

test('headers that name paths of the origin name the external ones', () => {
  const headers = ['Service-Worker-Allowed', '/w/', 'SourceMap', '/w/app.js.map']
  expect(responseHeaders(path, headers)).toEqual([
    ...['Service-Worker-Allowed', '/docs/', 'SourceMap', '/docs/app.js.map'],
  ])
})

describe('a content security policy', () => {
  const policy = (value: string, translation = root) =>
    responseHeaders(translation, ['Content-Security-Policy', value])[1]

  test('allows at the external URL what it allows at the internal one', () => {
    expect(
      policy(
        "default-src 'self' http://wiki.corp:3000; connect-src ws://wiki.corp:3000/live WIKI.corp:3000",
      ),
    ).toBe(
      "default-src 'self' https://wiki.example.com; connect-src wss://wiki.example.com/live wiki.example.com",
    )
    expect(
      policy('img-src wiki.corp/w/a/ http://wiki.corp:80, img-src http://wiki.corp/x', path),
    ).toBe(
      'img-src wiki.example.com/docs/a/ https://wiki.example.com, img-src https://wiki.example.com/x',
    )
  })

  test('is reported to where the browser finds it', () => {
    expect(policy('report-uri /w/csp http://wiki.corp/w/csp', path)).toBe(
      'report-uri /docs/csp https://wiki.example.com/docs/csp',
    )
  })

  test('keeps everything else byte for byte', () => {
    const all =
      "script-src 'nonce-YQ==' 'sha256-YQ==' 'unsafe-inline' https: data: *.corp:3000 http://*.corp;  sandbox allow-forms ; " +
      'img-src wiki.corp wiki.corp:* http://wiki.corp https://wiki.corp:3000.example wiki.corp:30001;upgrade-insecure-requests'
    expect(policy(all)).toBe(all)
    expect(responseHeaders(root, ['Content-Security-Policy-Report-Only', all])[1]).toBe(all)
  })

  test('takes no longer when it is long', () => {
    const begun = performance.now()
    for (const long of [
      'a'.repeat(60_000),
      '/'.repeat(60_000),
      'http://'.repeat(9_000),
      'a;'.repeat(30_000),
    ])
      expect(policy(long) === long).toBe(true)
    expect(performance.now() - begun).toBeLessThan(500)
  })
})

test('a link that has no end takes no longer than any other', () => {
  const begun = performance.now()
  const link = `${'<'.repeat(60_000)}http://wiki.corp:3000/b>`
  const [, translated = ''] = responseHeaders(root, ['Link', link])
  expect(translated.slice(60_000)).toBe('https://wiki.example.com/b>')
  responseHeaders(root, ['Link', '<'.repeat(60_000)])
  expect(performance.now() - begun).toBeLessThan(500)
})

test('what belongs to the connection with the origin does not reach the client', () => {
  const headers = [
    'Connection',
    'X-Hop',
    'X-Hop',
    '1',
    'Alt-Svc',
    'h3',
    'Strict-Transport-Security',
    'max-age=1',
  ]
  expect(responseHeaders(root, headers)).toEqual([])
})
