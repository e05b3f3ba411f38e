/**
 * Every page that people see of Sallyport itself, on a desk and on a phone: it fits, says its one thing, and breaks none
 * of its own rules. With SALLYPORT_SCREENSHOTS set to a folder, each is put there as pictures to be looked at, light and
 * dark.
 */

import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { alice, bob, fillIn, signInAt, urlOf } from '../harness/person.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'

const folder = process.env.SALLYPORT_SCREENSHOTS

const screens = {
  desk: { width: 1280, height: 800 },
  phone: { width: 390, height: 844 },
} as const

describe.skipIf(!hasChromium)('the page', () => {
  let origin: Origin
  let system: TestSystem
  let browser: Browser
  /** What the pages' own policy kept the browser from doing. */
  const forbidden: string[] = []

  beforeAll(async () => {
    origin = await startOrigin()
    origin.at('/wiki', (_req, res) => {
      res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>A wiki</h1>')
    })
    system = await startSystem({ publish: [signedInApplication('wiki', origin.url)] })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    await origin?.[Symbol.asyncDispose]()
  })

  async function newPage(screen: keyof typeof screens): Promise<Page & AsyncDisposable> {
    const context = await browser.newContext({ viewport: screens[screen] })
    const page = await context.newPage()
    page.setDefaultTimeout(10_000)
    page.on('console', message => {
      if (message.text().includes('Content Security Policy')) forbidden.push(message.text())
    })
    return Object.assign(page, { [Symbol.asyncDispose]: () => context.close() })
  }

  /** Looks at what the page shows now. */
  async function look(page: Page, name: string, heading: string | RegExp): Promise<void> {
    await page.getByRole('heading', { level: 1, name: heading }).waitFor()
    const overflow = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
    expect(overflow, `${name} is too wide`).toBeLessThanOrEqual(0)
    expect(await page.title()).toMatch(/ · Sallyport$/)
    expect(await page.locator('main').count()).toBe(1)
    expect(forbidden, name).toEqual([])
    await shoot(page, name)
  }

  async function shoot(page: Page, name: string): Promise<void> {
    if (!folder) return
    const width = page.viewportSize()?.width
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const path = join(folder, `${name}-${width}-${colorScheme}.png`)
      await page.screenshot({ path, fullPage: true })
    }
    await page.emulateMedia({ colorScheme: 'light' })
  }

  const kinds = Object.keys(screens) as (keyof typeof screens)[]

  test.each(kinds)('to sign in, the portal and the end of a session fit a %s', async screen => {
    await using page = await newPage(screen)
    await page.goto(system.portal)
    await look(page, 'sign-in', 'Sign in')
    await page.locator('input[name=username]').fill(alice)
    await page.locator('input[name=password]').fill('wrong')
    await page.locator('main button').click()
    await page.getByRole('alert').waitFor()
    await look(page, 'sign-in-wrong', 'Sign in')
    await fillIn(system, page)
    await look(page, 'portal', 'Hello, Alice')
    await page.goto(urlOf(system, 'handbook'))
    await shoot(page, 'handbook')
    await page.goto(`${system.portal}nothing`)
    await look(page, '404-page', 'There is no such page.')
    await page.getByRole('link', { name: 'Open the portal' }).click()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await look(page, 'signed-out', 'You are signed out')
  })

  test.each(kinds)('for what may not be seen or does not exist fits a %s', async screen => {
    await using page = await newPage(screen)
    await page.goto(urlOf(system, 'inventory'))
    await fillIn(system, page, bob)
    await look(page, '403', 'You may not use this application.')
    await page.goto(urlOf(system, 'nobody'))
    await look(page, '404', 'Nothing is published at this address.')
    await page.getByRole('link', { name: 'Open the portal' }).click()
    await look(page, 'portal-of-bob', 'Hello, Bob')
  })

  test('for what is broken says how far the request came, and its button tries again', async () => {
    await using desk = await newPage('desk')
    await using phone = await newPage('phone')
    const url = urlOf(system, 'wiki', '/wiki')
    for (const page of [desk, phone]) await signInAt(system, page, url)
    await origin.close()
    for (const page of [desk, phone]) {
      await page.reload()
      await look(page, '502', 'The application does not answer.')
      expect(await page.locator('main').innerText()).toMatch(/502\s*origin_unreachable/)
    }
    await origin.reopen()
    const again = async () => {
      const link = desk.getByRole('link', { name: 'Try again' })
      if (await link.count()) await link.click()
      return desk.locator('h1').innerText()
    }
    await expect.poll(again, { timeout: 5_000 }).toBe('A wiki')
    for (const connector of system.services.of('connector')) await system.stop(connector)
    for (const page of [desk, phone]) {
      await page.goto(url)
      await look(page, '504', 'No connector of this application is online.')
      expect(await page.locator('main').innerText()).toMatch(/504\s*no_connector/)
    }
  })
})
