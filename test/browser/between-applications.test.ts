/**
 * Two applications of one parent domain, and a browser that is signed in to both. Cookies alone do not keep them apart,
 * for to the browser they are one site: what a page of one sends to the other must not carry the user's session.
 */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Browser, BrowserContext, Page, Request } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signInAt, urlOf } from '../harness/person.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'

describe.skipIf(!hasChromium)('a page of one application', () => {
  let bank: Origin
  let forum: Origin
  let system: TestSystem
  let browser: Browser
  let context: BrowserContext
  let page: Page

  beforeAll(async () => {
    bank = await startOrigin()
    forum = await startOrigin()
    bank.at('/', answerPage('<h1>The bank</h1>'))
    bank.at('/transfer', answerPage('<h1>Transferred</h1>'))
    bank.at('/balance', (_req, res) =>
      // As careless as an application can be.
      res
        .writeHead(200, {
          'content-type': 'application/json',
          'access-control-allow-origin': urlOf(system, 'forum').slice(0, -1),
          'access-control-allow-credentials': 'true',
          'access-control-allow-headers': '*',
        })
        .end('{"balance":"forty-two gold coins"}'),
    )
    forum.at('/', answerPage('<h1>The forum</h1>'))
    system = await startSystem({
      publish: [signedInApplication('bank', bank.url), signedInApplication('forum', forum.url)],
    })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    await bank?.[Symbol.asyncDispose]()
    await forum?.[Symbol.asyncDispose]()
  })

  let before: number
  let asked: number
  const open = new Set<Request>()
  const isForBank = (request: Request) => request.url().startsWith(at(''))
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(10_000)
    await signInAt(system, page, at('/'))
    await page.goto(urlOf(system, 'forum'))
    before = bank.seen.length
    asked = 0
    page.on('request', request => {
      if (!isForBank(request)) return
      asked++
      open.add(request)
    })
    page.on('requestfinished', request => open.delete(request))
    page.on('requestfailed', request => open.delete(request))
  })
  afterEach(() => context.close())

  const at = (path: string) => urlOf(system, 'bank', path)
  /** Requests for the bank's pages since the forum's was opened. */
  const reached = () =>
    bank.seen
      .slice(before)
      .filter(({ path }) => path !== '/favicon.ico')
      .map(({ method, path }) => `${method} ${path}`)
  /** Runs in the forum's page. */
  const run = (script: string) => page.evaluate(script)
  const attempt = (call: string) =>
    run(`${call}.then(answer => answer.text().then(text => answer.type + answer.status + text))
      .catch(error => String(error))`)

  test('cannot read with the session, not even what the other would allow', async () => {
    const options = `{ credentials: 'include' }`
    expect(await attempt(`fetch('${at('/balance')}', ${options})`)).not.toContain('gold')
    expect(await attempt(`fetch('${at('/balance')}')`)).not.toContain('gold')
    expect(reached()).toEqual([])
  })

  test('is told why by the gateway, and that nothing was done', async () => {
    const answer = await attempt(`fetch('${at('/balance')}', { credentials: 'include' })`)
    expect(answer).toMatch(/^cors403/)
    expect(answer).toContain('cross_origin_refused')
  })

  test('cannot write with the session: fetch of every kind, beacon, request with a preflight', async () => {
    const init = (more: string) =>
      `{ method: 'POST', credentials: 'include', body: 'a=1', ${more} }`
    await attempt(`fetch('${at('/transfer')}', ${init(`mode: 'no-cors'`)})`)
    await attempt(`fetch('${at('/transfer')}', ${init(`mode: 'cors'`)})`)
    await attempt(`fetch('${at('/transfer')}', ${init(`headers: { 'x-requested-with': 'x' }`)})`)
    await run(`navigator.sendBeacon('${at('/transfer')}', 'a=1')`)
    await run(`new Promise(resolve => {
      const request = new XMLHttpRequest()
      request.open('PUT', '${at('/transfer')}')
      request.withCredentials = true
      request.onloadend = resolve
      request.send('a=1')
    })`)
    await settled(5)
    expect(reached()).toEqual([])
  })

  test('cannot post a form with the session, in its own window, a new one or a frame', async () => {
    const form = `<form method=post action="${at('/transfer')}"`
    for (const target of ['_blank', 'frame']) {
      const opened = target === '_blank' ? context.waitForEvent('page') : undefined
      await run(`document.body.innerHTML = \`<iframe name=frame></iframe>${form} target=${target}>
        <input name=a value=1></form>\`; document.forms[0].submit()`)
      const window = await opened
      await window?.getByText('A page of another site').waitFor()
      if (target === 'frame') {
        await expect.poll(() => page.frames().at(-1)?.url()).not.toBe('about:blank')
      }
    }
    await run(`document.body.innerHTML = \`${form}></form>\`; document.forms[0].submit()`)
    await page.getByRole('heading', { name: 'A page of another site' }).waitFor()
    expect(reached()).toEqual([])
  })

  test('cannot load the other’s answers as image, script, style, font, event stream or socket', async () => {
    await run(`
      const add = (name, attributes) => {
        const element = Object.assign(document.createElement(name), attributes)
        document.body.append(element)
      }
      add('img', { src: '${at('/transfer?img')}' })
      add('script', { src: '${at('/transfer?script')}' })
      add('link', { rel: 'stylesheet', href: '${at('/transfer?style')}' })
      add('video', { src: '${at('/transfer?video')}' })
      add('object', { data: '${at('/transfer?object')}' })
      add('embed', { src: '${at('/transfer?embed')}' })
      new EventSource('${at('/transfer?events')}', { withCredentials: true })
    `)
    const socket = await run(`new Promise(resolve => {
      const socket = new WebSocket('${at('/ws').replace('http', 'ws')}')
      socket.onopen = () => resolve('open')
      socket.onerror = () => resolve('refused')
    })`)
    expect(socket).toBe('refused')
    await settled(7)
    expect(reached()).toEqual([])
  })

  test('may link to the other: following the link uses the session there', async () => {
    await run(`document.body.innerHTML = '<a href="${at('/')}">To the bank</a>'`)
    await page.getByRole('link').click()
    await page.getByRole('heading', { name: 'The bank' }).waitFor()
    expect(reached()).toEqual(['GET /'])
  })

  test('cannot see or set the other’s cookies, nor the portal’s', async () => {
    expect(await run('document.cookie')).toBe('')
    const set = (cookie: string) => run(`document.cookie = '${cookie}'`)
    await set('__Host-sallyport=stolen; Path=/; Secure')
    await set('__Host-sallyport=stolen; Path=/; Secure; Domain=sallyport.localhost')
    await page.goto(at('/'))
    expect(await page.locator('h1').innerText()).toBe('The bank')
  })

  test.each(['"cookies"', '"*"'])('clears no cookies but its own with %s', async what => {
    forum.at('/log-in', (_req, res) =>
      res.writeHead(200, { 'set-cookie': 'forum=1; Path=/; HttpOnly' }).end(),
    )
    forum.at('/log-out', (_req, res) => res.writeHead(200, { 'clear-site-data': what }).end())
    const names = async () =>
      (await context.cookies()).map(({ name, domain }) => `${name} ${domain}`)
    const before = await names()
    await attempt(`fetch('${urlOf(system, 'forum', '/log-in')}')`)
    expect(await names()).toHaveLength(before.length + 1)
    await attempt(`fetch('${urlOf(system, 'forum', '/log-out')}')`)
    expect((await names()).sort()).toEqual(before.sort())
  })

  test('may use its own session in all these ways', async () => {
    forum.at('/post', (req: IncomingMessage, res: ServerResponse) => {
      req.resume()
      res.end(`posted by ${req.method}`)
    })
    const own = urlOf(system, 'forum', '/post')
    const form = '<form method=post action="/post"></form>'
    expect(await attempt(`fetch('${own}', { method: 'POST', body: 'a' })`)).toContain(
      'posted by POST',
    )
    await run(`document.body.innerHTML = '${form}'; document.forms[0].submit()`)
    await page.getByText('posted by POST').waitFor()
    forum.at('/discreet', answerPage(`<meta name=referrer content=no-referrer>${form}`))
    await page.goto(urlOf(system, 'forum', '/discreet'))
    await run('document.forms[0].submit()')
    await page.getByText('posted by POST').waitFor()
  })

  /** Everything that the forum's page has asked of the bank is answered, and it was no less than this. */
  async function settled(atLeast: number): Promise<void> {
    await expect.poll(() => [asked >= atLeast, open.size]).toEqual([true, 0])
  }
})

function answerPage(body: string) {
  return (req: IncomingMessage, res: ServerResponse) => {
    req.resume()
    res.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><body>${body}</body>`)
  }
}
