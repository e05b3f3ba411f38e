/**
 * A bank that lets in the scripts of a forum and the forms of a sign-in service on another site, and what a browser
 * makes of that: its own rules for cookies and answers apply besides the gateway's.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signInAt, urlOf } from '../harness/person.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'

describe.skipIf(!hasChromium)('a page that an application lets in', () => {
  let bank: Origin
  let forum: Origin
  /** Of another site, which a browser tells from another application. */
  let login: Origin
  let system: TestSystem
  let browser: Browser
  let context: BrowserContext
  let page: Page

  const at = (path: string) => urlOf(system, 'bank', path)

  beforeAll(async () => {
    bank = await startOrigin()
    forum = await startOrigin()
    login = await startOrigin()
    bank.at('/', answerPage('<h1>The bank</h1>'))
    bank.at('/api/balance', answerPage('forty-two gold coins'))
    bank.at('/acs', answerPage('<h1>Signed on</h1>'))
    forum.at('/', answerPage('<h1>The forum</h1>'))
    system = await startSystem({
      publish: [signedInApplication('bank', bank.url), signedInApplication('forum', forum.url)],
    })
    await administer(system, 'PATCH', '/applications/bank/onPremisesPublishing', {
      corsConfigurations: [
        {
          resource: '/api',
          allowedOrigins: [urlOf(system, 'forum').slice(0, -1)],
          allowedMethods: ['GET', 'PUT'],
          allowedHeaders: ['X-Forum'],
        },
        { resource: '/acs', allowedOrigins: [login.url] },
      ],
    })
    const form = `<form method=post action="${at('/acs')}"><button>Go on</button></form>`
    login.at('/', answerPage(form))
    login.at(
      '/stranger',
      answerPage(`<form method=post action="${at('/')}"><button>Go on</button></form>`),
    )
    login.at('/frame', answerPage(`<iframe src="${at('/')}"></iframe>`))
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    for (const origin of [bank, forum, login]) await origin?.[Symbol.asyncDispose]()
  })

  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(10_000)
    await signInAt(system, page, at('/'))
  })
  afterEach(() => context.close())

  const attempt = (path: string, options: object) =>
    page.evaluate(`fetch('${at(path)}', ${JSON.stringify({ credentials: 'include', ...options })})
      .then(answer => answer.text().then(text => answer.status + text)).catch(String)`)

  test('reads and changes with the session of its user, and with a preflight', async () => {
    await page.goto(urlOf(system, 'forum'))
    expect(await attempt('/api/balance', {})).toContain('forty-two gold coins')
    const change = { method: 'PUT', headers: { 'X-Forum': '1' }, body: 'a=1' }
    expect(await attempt('/api/balance', change)).toContain('forty-two gold coins')
    expect(bank.latest('/api/balance')?.method).toBe('PUT')
  })

  test('may not what it is not let in for', async () => {
    await page.goto(urlOf(system, 'forum'))
    const before = bank.seen.length
    expect(await attempt('/api/balance', { method: 'DELETE' })).toContain('TypeError')
    expect(await attempt('/api/balance', { headers: { 'X-Other': '1' } })).toContain('TypeError')
    expect(await attempt('/', {})).not.toContain('The bank')
    expect(bank.seen.length).toBe(before)
  })

  test('of another site sends a form, as a sign-in service does, with the session', async () => {
    await page.goto(login.url)
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('heading', { name: 'Signed on' }).waitFor()
    expect(bank.latest('/acs')?.method).toBe('POST')
  })

  test('of another site sends none elsewhere, and shows nothing of the session in a frame', async () => {
    const before = bank.seen.length
    await page.goto(`${login.url}/stranger`)
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('heading', { name: 'A page of another site' }).waitFor()
    const framed = page.waitForResponse(at('/'))
    await page.goto(`${login.url}/frame`)
    // Browsers that keep cookies from frames of other sites are sent to sign in.
    expect([302, 403]).toContain((await framed).status())
    expect(bank.seen.length).toBe(before)
  })
})

function answerPage(body: string) {
  return (req: IncomingMessage, res: ServerResponse) => {
    req.resume()
    res.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><body>${body}</body>`)
  }
}
