/** The sample applications as a connector meets them: plain HTTP on loopback, forwarded headers from outside. */

import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type SampleApplications,
  startSampleApplications,
} from '#infra/embedded/sample-applications.ts'
import { UserAgent } from '../harness/user-agent.ts'

let applications: SampleApplications
let browser: UserAgent

beforeAll(async () => {
  applications = await startSampleApplications()
})
afterAll(() => applications?.[Symbol.asyncDispose]())
beforeEach(() => {
  browser = new UserAgent()
})
afterEach(() => browser[Symbol.dispose]())

const forwarded = {
  'x-forwarded-proto': 'https',
  'x-forwarded-host': 'handbook.example.com',
}

describe('the handbook', () => {
  const at = (path: string) => applications.handbook + path

  test('every link of every page leads somewhere', async () => {
    const seen = new Set([at('')])
    for (const url of seen) {
      const page = await browser.visit(url)
      expect(page.status, url).toBe(200)
      if (!page.header('content-type')?.startsWith('text/html')) continue
      for (const [, href = ''] of page.text.matchAll(/(?:href|src)="([^"]+)"/g)) {
        const next = new URL(href, page.url)
        next.hash = ''
        expect(next.href.startsWith(applications.handbook), `${href} on ${url}`).toBe(true)
        seen.add(next.href)
      }
    }
    expect(seen.size).toBeGreaterThan(14)
  })

  test('builds absolute links from the forwarded headers', async () => {
    const page = await browser.visit(at('guides/travel'), { headers: forwarded })
    expect(page.text).toContain('href="https://handbook.example.com/guides/travel"')
  })

  test('sends old addresses to its internal one, for somebody else to translate', async () => {
    const answer = await browser.request(at('2019/travel'), { headers: forwarded })
    expect(answer.status).toBe(302)
    expect(answer.header('location')).toBe(at('guides/travel'))
  })

  test('says who is there when a header does', async () => {
    const page = await browser.visit(at(''), { headers: { 'x-forwarded-user': '<bob>@example' } })
    expect(page.text).toContain('Reading as <b>&lt;bob&gt;@example</b>')
    expect((await browser.visit(at(''))).text).toContain('as a guest')
  })

  test('finds words, and repeats what was looked for without believing it', async () => {
    const found = await browser.submit(await browser.visit(at('')), { q: 'barometers' })
    expect(found.text).toContain('1 guide with')
    expect(found.text).toContain('href="/guides/workshop"')
    const hostile = await browser.visit(at('search?q=<script>'))
    expect(hostile.text).not.toContain('<script>')
    expect(hostile.text).toContain('0 guides')
  })

  test('takes feedback, redirects, and shows it escaped', async () => {
    const page = await browser.visit(at('feedback'))
    const fields = { name: 'Pat', message: 'Too few <cakes> & "tea"' }
    const shown = await browser.submit(page, fields, { form: 'feedback' })
    expect(shown.url).toBe(at('feedback?sent'))
    expect(shown.text).toContain('Too few &lt;cakes&gt; &amp; &quot;tea&quot;')
    const refused = await browser.submit(page, { message: ' ' }, { form: 'feedback' })
    expect(refused.status).toBe(422)
  })

  test('remembers the theme and counts page views in cookies', async () => {
    await browser.visit(at(''))
    const page = await browser.visit(at('guides/hours'))
    expect(page.text).toContain('Page view 2')
    const dark = await browser.submit(page, { theme: 'night' }, { form: '/theme' })
    expect(dark.url).toBe(at('guides/hours'))
    expect(dark.text).toContain('class="night"')
  })

  test('goes back to no other site after choosing a theme', async () => {
    for (const page of ['https://evil.example/', '//evil.example/', '/\\evil.example/', '']) {
      const answer = await browser.request(at('theme'), {
        method: 'POST',
        body: new URLSearchParams({ theme: 'night', page }),
      })
      expect(answer.header('location')).toBe('/')
    }
  })

  test('gives back what was uploaded, byte for byte, by form and by PUT', async () => {
    const bytes = randomBytes(1_500_000)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const upload = new FormData()
    upload.append('file', new File([bytes], 'plan ü.bin'))
    const sent = await browser.request(at('files'), { method: 'POST', body: upload })
    expect(sent.status).toBe(303)
    expect((await browser.visit(at('files'))).text).toContain(sha256)
    const back = await browser.request(at(`files/${encodeURIComponent('plan ü.bin')}`))
    expect(back.body.equals(bytes)).toBe(true)
    expect(back.header('content-disposition')).toContain('attachment')
    const put = await browser.request(at('files/raw.bin'), { method: 'PUT', body: bytes })
    expect(JSON.parse(put.text)).toEqual({ name: 'raw.bin', bytes: bytes.length, sha256 })
    expect((await browser.request(at('files/raw.bin'))).body.equals(bytes)).toBe(true)
  })

  test('refuses files that are too large and forms without one', async () => {
    const put = { method: 'PUT', headers: { 'content-length': `${33 * 1_024 * 1_024}` } }
    expect((await browser.request(at('files/x'), put)).status).toBe(413)
    for (const body of [new FormData(), new URLSearchParams('file=x')])
      expect((await browser.request(at('files'), { method: 'POST', body })).status).toBe(422)
  })

  test('a file name cannot leave the shelf', async () => {
    for (const name of ['..%2f..%2fetc%2fpasswd', '%00', '%zz', '.hidden']) {
      const put = await browser.request(at(`files/${name}`), { method: 'PUT', body: 'x' })
      expect(put.status).toBe(201)
      expect(JSON.parse(put.text).name).toMatch(/^[\p{L}_][\p{L}\p{N}._ -]*$/u)
    }
  })

  test('sends a reading a second to everybody who watches', async () => {
    const { stream, header } = await browser.open(at('live/events'))
    expect(header('content-type')).toBe('text/event-stream')
    let text = ''
    while ((text.match(/^data: .*$/gm) ?? []).length < 3)
      text += String((await once(stream, 'data'))[0])
    stream.destroy()
    const counts = [...text.matchAll(/^data: (.*)$/gm)].map(
      ([, data = '']) => JSON.parse(data).count,
    )
    expect(counts[2]).toBe(counts[0] + 2)
  })

  test('shows a request as it arrived: order, case and repetition of headers', async () => {
    const headers = { 'X-One': ['a', 'b'], accept: 'application/json' }
    const { text } = await browser.request(at('request?x=1'), { headers })
    const seen = JSON.parse(text)
    expect(seen).toMatchObject({ method: 'GET', target: '/request?x=1' })
    expect(seen.headers.filter(([name]: string[]) => name === 'X-One')).toEqual([
      ['X-One', 'a'],
      ['X-One', 'b'],
    ])
  })

  test('static files are validated instead of sent again', async () => {
    const first = await browser.request(at('style.css'))
    const etag = first.header('etag')!
    const second = await browser.request(at('style.css'), { headers: { 'if-none-match': etag } })
    expect([second.status, second.body.length]).toEqual([304, 0])
  })

  test('unknown pages and wrong methods have pages of their own', async () => {
    expect((await browser.visit(at('guides/nothing'))).status).toBe(404)
    expect((await browser.visit(at('nothing'))).text).toContain('No such page')
    expect((await browser.request(at('feedback'), { method: 'DELETE' })).status).toBe(405)
  })
})

describe('the inventory', () => {
  const at = (path: string) => applications.inventory + path
  const send = (
    method: string,
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
  ) =>
    browser.request(at(path), {
      method,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })

  test('lists in pages that link to each other by the outer address', async () => {
    const first = await browser.request(at('items?limit=5'), { headers: forwarded })
    expect(JSON.parse(first.text)).toMatchObject({ limit: 5, offset: 0 })
    expect(JSON.parse(first.text).items).toHaveLength(5)
    expect(first.header('link')).toBe(
      '<https://handbook.example.com/items?limit=5&offset=5>; rel="next"',
    )
    const second = await browser.request(at('items?limit=5&offset=5'))
    expect(second.header('link')).toMatch(/rel="prev".*rel="next"/)
  })

  test('creates, reads, replaces, changes and removes an item', async () => {
    const item = { name: 'Compass rose', quantity: 3, shelf: 'G7', note: 'engraved' }
    const created = await send('POST', 'items', item)
    expect(created.status).toBe(201)
    const path = created.header('location')!.slice(1)
    const read = await browser.request(at(path))
    expect(JSON.parse(read.text)).toMatchObject(item)
    const replaced = await send('PUT', path, { ...item, quantity: 4 }, ifMatch(read))
    expect(JSON.parse(replaced.text).quantity).toBe(4)
    const changed = await send('PATCH', path, { quantity: 5, note: null }, ifMatch(replaced))
    expect(JSON.parse(changed.text)).toMatchObject({ name: 'Compass rose', quantity: 5 })
    expect(JSON.parse(changed.text)).not.toHaveProperty('note')
    const removed = await browser.request(at(path), { method: 'DELETE', headers: ifMatch(changed) })
    expect(removed.status).toBe(204)
    expect((await browser.request(at(path))).status).toBe(404)
  })

  test('refuses a change that does not say, or no longer knows, what it changes', async () => {
    const item = { name: 'Aneroid capsule', quantity: 1, shelf: 'A3' }
    expect((await send('PUT', 'items/1', item)).status).toBe(428)
    const stale = await send('PUT', 'items/1', item, { 'if-match': '"1-0"' })
    expect(stale.status).toBe(412)
    expect(stale.header('content-type')).toBe('application/problem+json')
    expect((await browser.request(at('items/1'), { method: 'DELETE' })).status).toBe(428)
    const anyVersion = await send('PATCH', 'items/1', { quantity: 2 }, { 'if-match': '*' })
    expect(anyVersion.status).toBe(200)
  })

  test('names what is wrong with an item, as problem+json', async () => {
    for (const [body, field] of [
      [{ name: 'x', quantity: -1, shelf: 'A1' }, 'quantity'],
      [{ name: 'x', quantity: 1, shelf: 'lower' }, 'shelf'],
      [{ quantity: 1, shelf: 'A1' }, 'name'],
      [{ name: 'x', quantity: 1, shelf: 'A1', extra: 1 }, 'extra'],
    ] as const) {
      const refused = await send('POST', 'items', body)
      expect(refused.status).toBe(400)
      expect(JSON.parse(refused.text)).toMatchObject({ title: 'Bad Request', status: 400 })
      expect(JSON.parse(refused.text).detail).toContain(field)
    }
  })

  test('refuses what is no JSON, not announced as JSON, or too much', async () => {
    const post = (body: string, type: string) =>
      browser.request(at('items'), { method: 'POST', body, headers: { 'content-type': type } })
    expect((await post('{', 'application/json')).status).toBe(400)
    expect((await post('{}', 'text/plain')).status).toBe(415)
    expect((await post('x'.repeat(70_000), 'application/json')).status).toBe(413)
    expect((await browser.request(at('items?limit=1000'))).status).toBe(400)
    expect((await browser.request(at('items'), { method: 'PUT' })).status).toBe(405)
  })

  test('answers not modified to who has the latest', async () => {
    const etag = (await browser.request(at('items/2'))).header('etag')!
    const again = await browser.request(at('items/2'), { headers: { 'if-none-match': etag } })
    expect(again.status).toBe(304)
  })

  test('says who the proxy says is there', async () => {
    const headers = { 'x-forwarded-user': 'bob@sallyport.example', 'x-forwarded-for': '192.0.2.7' }
    const { text } = await browser.request(at('whoami'), { headers })
    expect(JSON.parse(text)).toMatchObject({ user: 'bob@sallyport.example', address: '192.0.2.7' })
  })

  test('describes itself with the schemas that it validates with', async () => {
    const { text } = await browser.request(at('openapi.json'))
    const { openapi, components } = JSON.parse(text)
    expect(openapi).toBe('3.1.0')
    expect(components.schemas.Item.required).toEqual(['name', 'quantity', 'shelf'])
  })

  test('has a page for people', async () => {
    const page = await browser.visit(at(''))
    expect(page.text).toContain('Walnut case, unfinished')
  })

  function ifMatch(answer: { header(name: string): string | undefined }) {
    return { 'if-match': answer.header('etag')! }
  }
})

test('stopping ends open event streams and frees both ports', async () => {
  const own = await startSampleApplications()
  const { stream } = await browser.open(`${own.handbook}live/events`)
  const ended = new Promise(resolve => stream.once('close', resolve))
  stream.on('error', () => undefined).resume()
  await own[Symbol.asyncDispose]()
  await ended
  for (const url of [own.handbook, own.inventory])
    await expect(browser.request(url)).rejects.toThrow('ECONNREFUSED')
})
