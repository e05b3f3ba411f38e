/**
 * A WebSocket application that nobody here wrote, used in a browser: Cockpit from Debian, published as it stands. All
 * that its terminal shows and takes goes through one WebSocket. Skipped where the packages cockpit-ws, cockpit-bridge
 * and cockpit-system are not installed.
 */

import { readFile } from 'node:fs/promises'
import type { Browser, BrowserContext, Page, WebSocket } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parsePublications } from '#infra/embedded/publications.ts'
import { administer } from '../harness/admin.ts'
import { digestOf } from '../harness/bodies.ts'
import { hasChromium, launch } from '../harness/chromium.ts'
import { type Cockpit, cockpitFiles, startCockpit } from '../harness/cockpit.ts'
import { signInAt, urlOf } from '../harness/person.ts'
import { missingOf, without } from '../harness/programs.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

const missing = missingOf(...cockpitFiles)

describe.skipIf(!hasChromium || missing.length > 0)(`a terminal${without(missing)}`, () => {
  let cockpit: Cockpit
  let system: TestSystem
  let browser: Browser
  let context: BrowserContext
  let page: Page
  let sockets: WebSocket[]

  beforeAll(async () => {
    cockpit = await startCockpit()
    system = await startSystem({ publish: parsePublications([`console=${cockpit.url}`]) })
    browser = await launch()
  })
  afterAll(async () => {
    await browser?.close()
    await system?.[Symbol.asyncDispose]()
    await cockpit?.[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(15_000)
    sockets = []
    page.on('websocket', socket => sockets.push(socket))
  })
  afterEach(() => context.close())

  const terminalUrl = () => urlOf(system, 'console', '/system/terminal')
  const frame = () => page.frameLocator('iframe[name$="/system/terminal"]')
  const screen = async () => await frame().locator('.xterm-accessibility-tree').innerText()

  async function open(): Promise<void> {
    await signInAt(system, page, terminalUrl())
    await ready()
  }

  async function ready(): Promise<void> {
    await frame().locator('.xterm-helper-textarea').waitFor({ state: 'attached' })
    await expect.poll(screen).toMatch(/[#$]/)
  }

  async function type(line: string): Promise<void> {
    await frame().locator('.xterm-helper-textarea').pressSequentially(`${line}\n`)
  }

  test('runs what is typed and shows what comes out, through a WebSocket at the external URL', async () => {
    await open()
    await type(String.raw`printf '\303\244\344\270\226 %d\n' $((6 * 7))`)
    await expect.poll(screen).toContain('ä世 42')
    const external = new URL('/cockpit/socket', terminalUrl())
    external.protocol = 'ws:'
    expect(sockets.map(socket => socket.url())).toEqual([external.href])
    await type('seq 1 60000; echo the end is $((41 + 1))')
    await expect.poll(screen).toMatch(/60000\s+the end is 42/)
  })

  test('carries megabytes both ways and loses none of them', async () => {
    await open()
    const text = Array.from({ length: 300_000 }, (_, number) => `line ${number}\n`).join('')
    const path = `${cockpit.folder}/written`
    // What Cockpit's own pages use.
    const [terminal] = page.frames().filter(one => one.name().endsWith('/system/terminal'))
    const run = (script: string) => terminal?.evaluate(`(async () => ${script})()`)
    const size = { max_read_size: 2 ** 26 }
    const file = `cockpit.file(${JSON.stringify(path)}, ${JSON.stringify(size)})`
    await run(`void await ${file}.replace(${JSON.stringify(text)})`)
    expect(digestOf(await readFile(path))).toEqual(digestOf(Buffer.from(text)))
    expect((await run(`await ${file}.read()`)) === text).toBe(true)
  })

  test('ends when its user signs out, and not before', async () => {
    await open()
    const socket = sockets.at(-1)
    const portal = await context.newPage()
    await portal.goto(system.portal)
    await type('echo still here $((1 + 1))')
    await expect.poll(screen).toContain('still here 2')
    expect(socket?.isClosed()).toBe(false)
    await portal.getByRole('button', { name: 'Sign out' }).click()
    await expect.poll(() => socket?.isClosed()).toBe(true)
  })

  // Cockpit takes a WebSocket from a page of its own host alone, and knows its host by the Host header.
  test('works as well when it gets the Host header as the browser sent it', async () => {
    const onPremisesPublishing = { isTranslateHostHeaderEnabled: false }
    await administer(system, 'PATCH', '/applications/console', { onPremisesPublishing })
    await signInAt(system, page, terminalUrl())
    const script = `fetch('/').then(answer => answer.headers.get('content-security-policy'))`
    await expect.poll(() => page.evaluate(script)).toContain(new URL(terminalUrl()).host)
    await page.reload()
    await ready()
    await type('echo $((6 * 7)) again')
    await expect.poll(screen).toContain('42 again')
  })
})
