/** A person with a browser: signs in, works with the handbook, signs out. Cookies and redirects are Chromium's own. */

import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hasChromium, launch } from '../harness/chromium.ts'
import {
  alice,
  asksToSignIn,
  bob,
  cookieBytes,
  fillIn,
  openAgain,
  signInAt,
  urlOf,
} from '../harness/person.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

describe.skipIf(!hasChromium)('a person', () => {
  let system: TestSystem
  let browser: Browser
  let context: BrowserContext
  let page: Page

  beforeAll(async () => {
    system = await startSystem()
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(10_000)
  })
  afterEach(() => context.close())

  const handbook = (path = '/') => urlOf(system, 'handbook', path)

  test('signs in at the portal and finds the applications that are assigned', async () => {
    await signInAt(system, page, system.portal)
    expect(await page.locator('h1').innerText()).toBe('Hello, Alice')
    const names = await page.locator('main a').allInnerTexts()
    expect(names.join()).toMatch(/Handbook.*Inventory/s)
    await page.getByRole('link', { name: 'Handbook' }).click()
    await page.waitForURL(handbook())
    expect(await page.locator('h1').innerText()).toContain('How we work')
  })

  test('opens a deep link first and lands exactly there after signing in', async () => {
    const deep = handbook('/search?q=travel&x=%2F')
    await signInAt(system, page, deep)
    expect(page.url()).toBe(deep)
    expect(await page.locator('h1').innerText()).toBe('Search')
  })

  test('works in the handbook as if it were next door: links, redirects, forms, cookies, uploads', async () => {
    await signInAt(system, page, handbook())
    await page.getByRole('link', { name: 'its travel page' }).click()
    await page.waitForURL(handbook('/guides/travel'))
    expect(await page.getByRole('link', { name: 'Link to this page' }).getAttribute('href')).toBe(
      handbook('/guides/travel'),
    )
    await page.getByRole('link', { name: 'Feedback' }).click()
    const words = `Guten Tag, 世界 ${Date.now()}`
    await page.locator('textarea').fill(words)
    await page.getByRole('button', { name: 'Send' }).click()
    await page.waitForURL(handbook('/feedback?sent'))
    expect(await page.locator('section.entry').first().innerText()).toContain(words)
    await page.getByRole('button', { name: 'Night' }).click()
    await expect.poll(() => page.locator('html').getAttribute('class')).toBe('night')
    await page.goto(handbook('/files'))
    await page.locator('input[type=file]').setInputFiles({
      name: 'drawing.bin',
      mimeType: 'application/octet-stream',
      buffer: Buffer.alloc(300_000, 7),
    })
    await page.getByRole('button', { name: 'Upload' }).click()
    await page.getByRole('link', { name: 'drawing.bin' }).waitFor()
    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'drawing.bin' }).click()
    const download = await (await downloading).createReadStream()
    expect(Buffer.concat(await download.toArray()).equals(Buffer.alloc(300_000, 7))).toBe(true)
  })

  test('sees live updates as they come', async () => {
    await signInAt(system, page, handbook('/live'))
    const received = async () => Number(await page.locator('#received').innerText())
    await expect.poll(received, { timeout: 6_000 }).toBeGreaterThanOrEqual(3)
    expect(await page.locator('#state').innerText()).toBe('connected')
  })

  test('signs out everywhere: every host asks again, and going back shows nothing of what was open', async () => {
    await signInAt(system, page, handbook())
    await page.goto(urlOf(system, 'inventory'))
    await page.goto(system.portal)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
    for (let i = 0; i < 4; i++) {
      await page.goBack()
      const shown = await page.locator('body').innerText()
      expect(shown).not.toMatch(/Hello|How we work|What lies where/)
    }
    for (const url of [handbook(), urlOf(system, 'inventory'), system.portal]) {
      await page.goto(url)
      expect(await asksToSignIn(page), url).toBe(true)
      expect(await page.locator('body').innerText()).not.toContain('Alice')
    }
    const facts = await page.goto(`${system.portal}.sallyport/session`)
    expect(facts?.status()).toBe(401)
  })

  test('is told when the password is wrong, and may try again', async () => {
    await page.goto(handbook())
    await page.locator('input[name=username]').fill(alice)
    await page.locator('input[name=password]').fill('wrong')
    await page.locator('main button').click()
    await page.getByText('do not match').waitFor()
    expect(await page.locator('input[name=username]').inputValue()).toBe(alice)
    await page.locator('input[name=password]').fill('wonderland')
    await page.locator('main button').click()
    await page.waitForURL(handbook())
  })

  test('without access sees why, and a support id', async () => {
    await page.goto(urlOf(system, 'inventory'))
    await fillIn(system, page, bob)
    await page.getByRole('heading', { name: 'You may not use this application.' }).waitFor()
    expect(page.url()).toBe(urlOf(system, 'inventory'))
    const text = await page.locator('main').innerText()
    expect(text).toMatch(/403/)
    expect(text).toMatch(/assigned/)
    expect(text).toMatch(/Support id\s+[0-9a-z]+-[0-9a-z]+/i)
    await page.getByRole('link', { name: 'Open the portal' }).click()
    await page.getByRole('heading', { name: 'Hello, Bob' }).waitFor()
    expect(await page.locator('main').innerText()).not.toContain('Inventory')
  })

  test('opens twenty tabs at once, and all of them land after one sign-in', async () => {
    const { tabs, urls } = await openTabs()
    for (const tab of tabs) expect(await asksToSignIn(tab)).toBe(true)
    await fillIn(system, tabs[7] as Page)
    await tabs[7]?.waitForURL(urls[7] as string)
    for (const [i, tab] of tabs.entries()) if (i !== 7) await tab.reload()
    expect(tabs.map(tab => tab.url())).toEqual(urls)
  })

  test('who is still signed in at the provider opens twenty tabs and is asked in none', async () => {
    await signInAt(system, page, handbook())
    await context.clearCookies({ domain: 'portal.sallyport.localhost' })
    await context.clearCookies({ domain: 'handbook.sallyport.localhost' })
    const { tabs, urls } = await openTabs()
    expect(tabs.map(tab => tab.url())).toEqual(urls)
    for (const url of [...urls, system.portal]) {
      expect(await cookieBytes(context, url), url).toBeLessThanOrEqual(1024)
    }
  })

  async function openTabs() {
    const urls = Array.from({ length: 20 }, (_, i) =>
      i % 4 === 3 ? urlOf(system, 'inventory', `/?tab=${i}`) : handbook(`/search?q=${i}`),
    )
    const tabs = await Promise.all(urls.map(() => context.newPage()))
    await Promise.all(tabs.map((tab, i) => openAgain(tab, urls[i] as string)))
    return { tabs, urls }
  }

  test('needs no script to sign in, work and sign out', async () => {
    await using plain = await browser.newContext({ javaScriptEnabled: false })
    const plainPage = await plain.newPage()
    await signInAt(system, plainPage, handbook())
    expect(await plainPage.locator('h1').innerText()).toContain('How we work')
    await plainPage.goto(system.portal)
    await plainPage.getByRole('button', { name: 'Sign out' }).click()
    await plainPage.getByRole('heading', { name: 'You are signed out' }).waitFor()
  })
})
