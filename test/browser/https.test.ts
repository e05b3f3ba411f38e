/** A browser at a gateway that speaks TLS: it signs in and works over HTTP/2, and opens its WebSockets beside that. */

import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type Origin, startOrigin } from '../harness/origin.ts'
import { signInAt } from '../harness/person.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'

describe.skipIf(!hasChromium)('over TLS', () => {
  let certificate: TestCertificate
  let origin: Origin
  let system: TestSystem
  let browser: Browser

  beforeAll(async () => {
    certificate = await createCertificate()
    origin = await startOrigin()
    origin.at('/', (_req, res) =>
      res.writeHead(200, { 'content-type': 'text/html' }).end('<h1>The wiki</h1>'),
    )
    system = await startSystem({
      environment: certificate.environment,
      publish: [signedInApplication('wiki', origin.url)],
    })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    await origin?.[Symbol.asyncDispose]()
    await certificate?.[Symbol.asyncDispose]()
  })

  test('a browser signs in, loads, uploads and downloads over HTTP/2, and has its WebSockets', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    const page = await context.newPage()
    page.setDefaultTimeout(10_000)
    const url = `https://wiki.sallyport.localhost:${system.port}/`
    await signInAt(system, page, url)
    expect(await page.locator('h1').textContent()).toBe('The wiki')
    const facts = await page.evaluate(async host => {
      const [navigation] = performance.getEntriesByType('navigation' as never)
      const uploaded = await fetch('/echo', { method: 'POST', body: 'x'.repeat(1_000_000) })
      const downloaded = await fetch('/bytes/3000000?chunked')
      const socket = new WebSocket(`wss://${host}/ws`)
      const heard = await new Promise(resolve => {
        socket.onerror = () => resolve('error')
        socket.onopen = () => socket.send('hello')
        socket.onmessage = ({ data }) => resolve(data)
      })
      return {
        protocol: (navigation as unknown as { nextHopProtocol: string }).nextHopProtocol,
        uploaded: ((await uploaded.json()) as { bytes: number }).bytes,
        downloaded: (await downloaded.arrayBuffer()).byteLength,
        heard,
      }
    }, new URL(url).host)
    expect(facts).toEqual({
      protocol: 'h2',
      uploaded: 1_000_000,
      downloaded: 3_000_000,
      heard: 'hello',
    })
    await page.goto(system.portal)
    expect(await page.locator('main').textContent()).toContain('wiki')
    await context.close()
  })
})
