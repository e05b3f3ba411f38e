/**
 * An application that nobody here wrote, published as a user would do it: DokuWiki on PHP's own server. It knows nothing
 * of Sallyport, has users, cookies, redirects and absolute URLs of its own, and takes uploads. Where it is not installed
 * (Debian: dokuwiki php-cli php-xml) these tests are skipped.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parsePublications } from '#infra/embedded/publications.ts'
import { bodyOf, digestOf } from '../harness/bodies.ts'
import {
  type DokuWiki,
  hasDokuWiki,
  startDokuWiki,
  wikiFolder,
  wikiUser,
} from '../harness/dokuwiki.ts'
import { findForm, formEntries } from '../harness/forms.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'
import { type Answer, UserAgent } from '../harness/user-agent.ts'

const missing = hasDokuWiki ? '' : ' (not installed: apt-get install dokuwiki php-cli php-xml)'

describe.skipIf(!hasDokuWiki)(`DokuWiki behind Sallyport${missing}`, () => {
  let wiki: DokuWiki
  let system: TestSystem
  let alice: UserAgent

  beforeAll(async () => {
    wiki = await startDokuWiki()
    system = await startSystem({ publish: parsePublications([`wiki=${wiki.url}`]) })
    alice = new UserAgent()
    await alice.signIn(at('/doku.php'), 'alice@sallyport.example', 'wonderland')
  })
  afterAll(async () => {
    alice?.[Symbol.dispose]()
    await system?.[Symbol.asyncDispose]()
    await wiki?.[Symbol.asyncDispose]()
  })

  const at = (path: string) => `http://wiki.sallyport.localhost:${system.port}${path}`

  /** Sends the form of the page that has this field. */
  function send(page: Answer, field: string, fields: Record<string, string | File>) {
    const forms = page.text.match(/<form\b[\s\S]*?<\/form>/g) ?? []
    const form = findForm(forms.find(markup => markup.includes(`name="${field}"`)) ?? '')
    if (!form) throw new Error(`no form with ${field} at ${page.url}: ${page.text.slice(0, 500)}`)
    const entries = Object.entries({ ...Object.fromEntries(formEntries(form)), ...fields })
    const url = new URL(form.action, page.url).href
    const isFile = entries.some(([, value]) => value instanceof File)
    const body = isFile ? new FormData() : new URLSearchParams()
    for (const [name, value] of entries) body.append(name, value as string)
    return alice.visit(url, { from: page.url, method: 'POST', body })
  }

  test('shows nothing to whoever has not signed in', async () => {
    using stranger = new UserAgent()
    const page = await stranger.visit(at('/doku.php'))
    expect(page.url).toContain(new URL(system.parts.identityProvider.issuer).host)
    expect(page.text).not.toContain('DokuWiki')
  })

  test('shows its pages, and every link of a page leads to its external address', async () => {
    const page = await alice.visit(at('/'))
    expect(page.status).toBe(200)
    expect(page.text).toContain('A wiki')
    expect(page.text).not.toContain(wiki.url)
    const links = [...page.text.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link = '']) => link)
    const own = links
      .map(link => new URL(link.replaceAll('&amp;', '&'), page.url))
      .filter(({ origin, href }) => origin === new URL(page.url).origin && !href.includes('do='))
    expect(own.length).toBeGreaterThan(5)
    for (const { href } of own) expect((await alice.visit(href)).status, href).toBe(200)
  })

  test('sends its static files as they lie on its disk, and not again when they have not changed', async () => {
    for (const file of ['lib/tpl/dokuwiki/images/logo.png', 'lib/images/fileicons/32x32/zip.png']) {
      const answer = await alice.request(at(`/${file}`))
      expect(answer.header('content-type')).toBe('image/png')
      expect(digestOf(answer.body)).toEqual(digestOf(await readFile(join(wikiFolder, file))))
    }
    const script = await alice.request(at('/lib/exe/js.php?t=dokuwiki'))
    const etag = script.header('etag') ?? ''
    expect(script.body.length).toBeGreaterThan(50_000)
    const again = await alice.request(script.url, { headers: { 'if-none-match': etag } })
    expect(again).toMatchObject({ status: 304, text: '' })
  })

  test('has a log-in of its own, which works beside that of Sallyport', async () => {
    const form = await alice.visit(at('/doku.php?id=start&do=login'))
    const wrong = await send(form, 'u', { u: wikiUser.name, p: 'wrong' })
    expect(wrong.text).toContain('username or password was wrong')
    const page = await send(form, 'u', { u: wikiUser.name, p: wikiUser.password })
    expect(page.url).toBe(at('/doku.php?id=start'))
    expect(page.text).toContain('Logged in as')
    expect((await alice.visit(at('/doku.php?id=other'))).text).toContain('Logged in as')
  })

  test('stores a page and sends its author there', async () => {
    const editor = await alice.visit(at('/doku.php?id=travel&do=edit'))
    const words = 'Über Berge & Täler: 世界'
    const page = await send(editor, 'wikitext', {
      wikitext: `===== ${words} =====`,
      'do[save]': '1',
    })
    expect(page.url).toMatch(/\/doku\.php\?id=travel/)
    expect(page.text).toContain(words.replace('&', '&amp;'))
  })

  test('takes an upload of several megabytes and gives it back byte by byte', async () => {
    const bytes = bodyOf(3_000_000)
    const manager = await alice.visit(at('/lib/exe/mediamanager.php?ns='))
    const file = new File([new Uint8Array(bytes)], 'plans.zip', { type: 'application/zip' })
    const page = await send(manager, 'upload', { upload: file })
    expect(page.text).toContain('plans.zip')
    const download = await alice.request(at('/lib/exe/fetch.php?media=plans.zip'))
    expect(download.header('content-length')).toBe('3000000')
    expect(digestOf(download.body)).toEqual(digestOf(bytes))
    const part = await alice.request(download.url, { headers: { range: 'bytes=1000-1999' } })
    expect(part.status).toBe(206)
    expect(part.body.equals(bytes.subarray(1_000, 2_000))).toBe(true)
  })

  test('ends its own session without ending that of Sallyport, and the reverse', async () => {
    const page = await alice.visit(at('/doku.php?id=start'))
    const [, link = ''] = /href="([^"]+do=logout[^"]*)"/.exec(page.text) ?? []
    const left = await alice.visit(new URL(link.replaceAll('&amp;', '&'), page.url).href)
    expect(left.status).toBe(200)
    expect(left.text).not.toContain('Logged in as')
    await alice.submit(await alice.visit(system.portal), {}, { form: 'sign-out' })
    expect((await alice.visit(at('/'))).text).not.toContain('A wiki')
  })
})
