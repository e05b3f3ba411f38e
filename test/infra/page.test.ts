/** The design of our own pages: what is escaped, what the browser is allowed, what everybody can read. */

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { FAULTS } from '#infra/errors.ts'
import {
  alert,
  applicationTiles,
  card,
  errorPage,
  facts,
  field,
  form,
  html,
  intro,
  linkButton,
  pageHeaders,
  renderPage,
  route,
  submitButton,
} from '#infra/page.ts'
import { hasChromium, launch } from '../harness/chromium.ts'

const hostile = `"><img src=x onerror=alert(1)>'&`
const escaped = '&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&#39;&amp;'

const failure = (code: keyof typeof FAULTS, reasons?: string[]) =>
  errorPage({
    ...FAULTS[code],
    code,
    supportId: '4f1c2f0a9be24f6f',
    time: new Date('2026-03-14T09:26:53.589Z'),
    failedAt: 'connector',
    actions: [linkButton('Try again', '/')],
    homeUrl: 'http://portal.sallyport.localhost:8080/',
    ...(reasons && { reasons }),
  })

const portal = () =>
  renderPage({
    title: 'Your applications',
    actions: form({ action: '/sign-out', body: submitButton('Sign out', { kind: 'quiet' }) }),
    body: [
      intro('Your applications', 'What is assigned to you.'),
      applicationTiles([
        { name: 'Handbook', url: 'http://handbook.sallyport.localhost:8080/' },
        {
          name: 'A name that somebody made far too long to fit',
          url: 'https://a-very-long-host-name-indeed.human-resources.sallyport.example/',
        },
      ]),
    ],
  })

describe('html', () => {
  test('escapes text and attribute values', () => {
    expect(`${html`<a title="${hostile}">${hostile}</a>`}`).toBe(
      `<a title="${escaped}">${escaped}</a>`,
    )
  })

  test('leaves markup of its own as it is, joins lists, and leaves out what is not there', () => {
    const rows = ['a', '<b>'].map(text => html`<li>${text}</li>`)
    expect(`${html`<ul>${rows}${undefined}${null}${false}${''}${0}</ul>`}`).toBe(
      '<ul><li>a</li><li>&lt;b&gt;</li>0</ul>',
    )
  })

  test('every part escapes what it is given', () => {
    const parts = [
      card(hostile),
      intro(hostile, hostile),
      alert({ tone: 'bad', heading: hostile, body: hostile, code: hostile }),
      facts([{ term: hostile, value: hostile, mono: true }]),
      field({ label: hostile, name: hostile, value: hostile, hint: hostile }),
      form({ action: '/', hidden: { [hostile]: hostile }, body: hostile }),
      submitButton(hostile, { name: hostile, value: hostile }),
      applicationTiles([{ name: hostile, url: 'http://x.example/', description: hostile }]),
    ]
    const page = renderPage({ title: hostile, body: parts, footer: hostile, actions: hostile })
    expect(page).not.toContain('<img')
    expect(page.split(escaped).length).toBeGreaterThan(20)
  })

  test('links lead to http(s) and relative addresses only', () => {
    for (const url of [
      'javascript:alert(1)',
      '//evil.example/',
      'data:text/html,x',
      'JAVASCRIPT:x',
    ])
      expect(() => linkButton('Open', url), url).toThrow(TypeError)
    expect(`${linkButton('Open', 'https://wiki.example/')}`).toContain('https://wiki.example/')
  })
})

describe('a page', () => {
  test('has the one style that its policy allows, and no script', () => {
    const page = portal()
    const [, style = ''] = /<style>([\s\S]*)<\/style>/.exec(page) ?? []
    const hash = createHash('sha256').update(style).digest('base64')
    expect(pageHeaders['content-security-policy']).toContain(`style-src 'sha256-${hash}'`)
    expect(page).not.toMatch(/<script|\son\w+=|\sstyle=/)
    expect(style).not.toContain('</')
  })

  test('may be framed by nobody, is kept by nobody, and loads nothing', () => {
    expect(pageHeaders['content-security-policy']).toMatch(
      /default-src 'none'.*frame-ancestors 'none'/,
    )
    expect(pageHeaders['cache-control']).toBe('no-store')
    expect(portal()).not.toMatch(/(?:src|href)="https?:\/\/[^"]*\.(?:css|js|png|woff2?)/)
  })

  // Chromium applies form-action to the redirects after a post, and those end on other hosts of ours.
  test('does not stop its forms from leading to other hosts by redirect', () => {
    expect(pageHeaders['content-security-policy']).not.toContain('form-action')
  })

  test('names language, landmarks, one heading, and a label for every field', () => {
    const page = renderPage({
      title: 'Sign in',
      layout: 'gate',
      body: card(
        html`<h1>Sign in</h1>`,
        form({ action: '/', body: field({ label: 'User name', name: 'username', hint: 'Whole' }) }),
      ),
    })
    expect(page).toContain('<html lang="en">')
    for (const landmark of ['<header', '<main', '<footer']) expect(page).toContain(landmark)
    expect(page.match(/<h1/g)).toHaveLength(1)
    expect(page).toMatch(/<label for="field-username">.*<input id="field-username"/)
    expect(page).toMatch(/aria-describedby="field-username-hint".*id="field-username-hint"/)
  })

  test('an error tells code, reason, what to do, support id and time, for every fault there is', () => {
    for (const [code, fault] of Object.entries(FAULTS)) {
      const page = failure(code as keyof typeof FAULTS, ['Because of <policy>.'])
      const said = [
        code,
        `${fault.status}`,
        `${html`${fault.title}`}`,
        '4f1c2f0a9be24f6f',
        'Because of &lt;policy&gt;.',
      ]
      for (const text of said) expect(page).toContain(text)
      expect(page).toContain(`${html`${fault.advice}`}`)
      expect(page).toContain(
        '<time datetime="2026-03-14T09:26:53.589Z">2026-03-14 09:26:53 UTC</time>',
      )
    }
  })

  test('the drawing says in words where a request ended', () => {
    const drawn = `${route('connector')}`
    expect(drawn).toMatch(/You<span[^>]*>: passed.*Gateway<span[^>]*>: passed/)
    expect(drawn).toMatch(/Connector<span[^>]*>: the request ended here/)
    expect(drawn).toMatch(/Application<span[^>]*>: not reached/)
  })
})

describe('the colours', () => {
  const css = readFileSync(new URL('../../infra/page.css', import.meta.url), 'utf8')
  const [light = '', dark = ''] = [...css.matchAll(/:root\s*\{([^}]*)\}/g)].map(match => match[1])
  const textOn: [string, string, number][] = [
    ['ink', 'paper', 4.5],
    ['soft', 'paper', 4.5],
    ['soft', 'arch', 4.5],
    ['soft', 'surface', 4.5],
    ['soft', 'sunken', 4.5],
    ['accent', 'surface', 4.5],
    ['accent', 'accent-tint', 4.5],
    ['on-accent', 'accent', 4.5],
    ['on-accent', 'accent-strong', 4.5],
    ['bad', 'surface', 4.5],
    ['bad', 'sunken', 4.5],
    ['bad', 'bad-tint', 4.5],
    ['warn', 'warn-tint', 4.5],
    ['ink', 'bad-tint', 4.5],
    ['control', 'surface', 3],
    ['control', 'sunken', 3],
    ['accent', 'arch', 3],
  ]
  test.each([
    ['light', light],
    ['dark', dark],
  ])('can be told apart by everybody: %s', (_theme, declarations) => {
    const colour = (name: string) =>
      new RegExp(`--${name}:\\s*(#[0-9a-f]{3,6})`).exec(declarations)?.[1] ?? ''
    for (const [front, back, least] of textOn)
      expect(contrast(colour(front), colour(back)), `${front} on ${back}`).toBeGreaterThanOrEqual(
        least,
      )
  })

  /** WCAG 2.2: relative luminance of both, the lighter over the darker. */
  function contrast(a: string, b: string): number {
    const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x)
    return (light + 0.05) / (dark + 0.05)
  }

  function luminance(colour: string): number {
    const digits =
      colour.slice(1).length === 3 ? colour.slice(1).replace(/./g, '$&$&') : colour.slice(1)
    const [r = 0, g = 0, b = 0] = (digits.match(/../g) ?? [])
      .map(pair => Number.parseInt(pair, 16) / 255)
      .map(part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
})

describe.skipIf(!hasChromium)('in a browser', () => {
  test('pages fit a phone of 320 px, have their style, and break no rule of their policy', async () => {
    const pages = [portal(), failure('no_connector'), failure('access_denied', ['x'.repeat(200)])]
    await using server = await serve(pages)
    await using browser = await launch()
    const page = await browser.newPage({ viewport: { width: 320, height: 640 } })
    const said: string[] = []
    page.on('console', message => said.push(message.text()))
    for (const index of pages.keys()) {
      await page.goto(`${server.url}${index}`)
      const overflow = 'document.documentElement.scrollWidth - innerWidth'
      expect(await page.evaluate(overflow)).toBeLessThanOrEqual(0)
      expect(await page.evaluate('getComputedStyle(document.body).display')).toBe('flex')
    }
    expect(said).toEqual([])
  })

  async function serve(pages: string[]) {
    const server = createServer((req, res) =>
      res.writeHead(200, pageHeaders).end(pages[Number(req.url?.slice(1))]),
    )
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections()
        await new Promise(resolve => server.close(resolve))
      },
    }
  }
})
