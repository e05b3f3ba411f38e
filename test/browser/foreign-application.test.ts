/**
 * An application that nobody here wrote, used in a browser: DokuWiki from Debian, published as it stands with
 * `--publish wiki=URL`. What its own scripts, cookies, redirects and forms do must work as if it were next door. Skipped
 * where the packages dokuwiki, php-cli and php-xml are not installed.
 */

import { randomBytes } from 'node:crypto'
import type { Browser, BrowserContext, Page, Response } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parsePublications } from '#infra/embedded/publications.ts'
import { administer } from '../harness/admin.ts'
import { digestOf } from '../harness/bodies.ts'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type DokuWiki, hasDokuWiki, startDokuWiki, wikiUser } from '../harness/dokuwiki.ts'
import { bob, fillIn, signInAt, urlOf } from '../harness/person.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

describe.skipIf(!hasChromium || !hasDokuWiki)('a wiki that is published as it stands', () => {
  let dokuWiki: DokuWiki
  let system: TestSystem
  let browser: Browser
  let context: BrowserContext
  let page: Page

  beforeAll(async () => {
    dokuWiki = await startDokuWiki()
    system = await startSystem({ publish: parsePublications([`wiki=${dokuWiki.url}`]) })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    await dokuWiki?.[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(10_000)
  })
  afterEach(() => context.close())

  const wiki = (path = '/') => urlOf(system, 'wiki', path)
  const named = (id: string, action = '') => wiki(`/doku.php?id=${id}${action && `&do=${action}`}`)

  async function logIn(password = wikiUser.password): Promise<void> {
    await page.locator('#dw__login input[name=u]').fill(wikiUser.name)
    await page.locator('#dw__login input[name=p]').fill(password)
    await page.locator('#dw__login button[type=submit]').click()
  }

  test('shows its pages whole: styles, scripts and pictures arrive with their types', async () => {
    const answers: Response[] = []
    const errors: string[] = []
    page.on('response', answer => answers.push(answer))
    page.on('pageerror', error => errors.push(error.message))
    await signInAt(system, page, wiki())
    await page.waitForLoadState('networkidle')
    const own = answers.filter(answer => answer.url().startsWith(wiki()))
    const typesOf = (kind: string) =>
      new Set(
        own
          .filter(it => it.request().resourceType() === kind && it.status() === 200)
          .map(it => it.headers()['content-type']),
      )
    expect(typesOf('stylesheet')).toEqual(new Set(['text/css; charset=utf-8']))
    expect(typesOf('script')).toEqual(new Set(['application/javascript; charset=utf-8']))
    expect(typesOf('image')).toContain('image/png')
    expect(own.filter(answer => answer.status() >= 400).map(answer => answer.url())).toEqual([])
    expect(errors).toEqual([])
    expect(await page.evaluate('typeof jQuery')).toBe('function')
    expect(await page.evaluate('document.styleSheets[0].cssRules.length')).toBeGreaterThan(20)
    const logo = 'document.querySelector("#dokuwiki__header img").naturalWidth'
    expect(await page.evaluate(logo)).toBeGreaterThan(0)
    await page.getByRole('link', { name: 'Sitemap' }).first().click()
    await page.getByRole('heading', { name: 'Sitemap' }).waitFor()
    expect(new URL(page.url()).host).toBe(new URL(wiki()).host)
  })

  test('keeps its own log-in: wrong and right passwords, and logging out there is not signing out here', async () => {
    await signInAt(system, page, named('start', 'login'))
    await logIn('wrong')
    await page.getByText('Sorry, username or password was wrong').waitFor()
    await logIn()
    await page.getByText('Logged in as').first().waitFor()
    await page.reload()
    expect(await page.locator('li.user').innerText()).toContain(wikiUser.name)
    await page.getByRole('link', { name: 'Log Out' }).click()
    await page.getByRole('link', { name: 'Log In' }).waitFor()
    await page.goto(system.portal)
    expect(await page.locator('h1').innerText()).toBe('Hello, Alice')
  })

  test('takes a page that one person writes and shows it to another', async () => {
    const words = `Grüße, 世界 & <b>no markup</b> ${Date.now()}`
    const long = Array.from({ length: 400 }, (_, i) => `  * Line ${i}: ${'x'.repeat(200)}`)
    await signInAt(system, page, named('notes', 'login'))
    await logIn()
    await page.getByText('Logged in as').first().waitFor()
    await page.goto(named('notes', 'edit'))
    await page.locator('#wiki__text').fill(['====== Notes ======', words, '', ...long].join('\n'))
    await page.locator('#edbtn__save').click()
    await page.getByRole('heading', { name: 'Notes' }).waitFor()
    expect(new URL(page.url()).origin).toBe(new URL(wiki()).origin)

    await using other = await browser.newContext()
    const reader = await other.newPage()
    await reader.goto(named('notes'))
    await fillIn(system, reader, bob)
    await reader.getByRole('heading', { name: 'Notes' }).waitFor()
    expect(await reader.locator('#dokuwiki__content').innerText()).toContain(words)
    expect(await reader.locator('li', { hasText: 'Line 399:' }).count()).toBe(1)
  })

  test('takes a file from its own script’s upload and gives it back byte by byte', async () => {
    const body = randomBytes(5_000_001)
    await signInAt(system, page, named('start', 'login'))
    await logIn()
    await page.getByText('Logged in as').first().waitFor()
    await page.goto(wiki('/lib/exe/mediamanager.php?ns='))
    const file = { name: 'drawings.zip', mimeType: 'application/zip', buffer: body }
    await page.locator('input[type=file]').setInputFiles(file)
    await page.locator('#mediamanager__upload_button').click()
    await page.locator('.qq-upload-success').waitFor()
    await page.goto(wiki('/lib/exe/mediamanager.php?ns='))
    const downloading = page.waitForEvent('download')
    // A navigation that becomes a download ends with an error.
    await page.goto(wiki('/lib/exe/fetch.php?media=drawings.zip')).catch(() => undefined)
    const download = await downloading
    expect(download.suggestedFilename()).toBe('drawings.zip')
    const received = Buffer.concat(await (await download.createReadStream()).toArray())
    expect(digestOf(received)).toEqual(digestOf(body))
  })

  // DokuWiki writes whole addresses into its feed, made from the Host header. Bodies are not translated.
  test('writes its external address into its feed once it gets the Host header as the browser sent it', async () => {
    await signInAt(system, page, wiki())
    const feed = () => page.evaluate(`fetch('/feed.php').then(answer => answer.text())`)
    expect(await feed()).toContain(`<link>${dokuWiki.url}/`)
    const onPremisesPublishing = { isTranslateHostHeaderEnabled: false }
    await administer(system, 'PATCH', '/applications/wiki', { onPremisesPublishing })
    await expect.poll(feed, { timeout: 5_000 }).toContain(`<link>${wiki()}`)
    expect(await feed()).not.toContain(dokuWiki.url)
    await page.reload()
    expect(await page.content()).not.toContain(dokuWiki.url)
  })
})
