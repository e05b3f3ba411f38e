/** A person in front of Chromium: fills in the sign-in form, looks at what our cookies have become. */

import type { BrowserContext, Page } from 'playwright-core'
import type { TestSystem } from './system.ts'

export const alice = 'alice@sallyport.example'
export const bob = 'bob@sallyport.example'

export function urlOf({ port }: TestSystem, name: string, path = '/'): string {
  return `http://${name}.sallyport.localhost:${port}${path}`
}

/** Fills in and sends the identity provider's form that the page shows. */
export async function fillIn(system: TestSystem, page: Page, user = alice): Promise<void> {
  const known = system.parts.identityProvider.users.find(({ name }) => name === user)
  await page.locator('input[name=username]').fill(user)
  await page.locator('input[name=password]').fill(known?.password ?? '')
  await page.locator('main button').click()
}

/** Opens an address, and signs in on the way. */
export async function signInAt(
  system: TestSystem,
  page: Page,
  url: string,
  user = alice,
): Promise<void> {
  await page.goto(url)
  await fillIn(system, page, user)
  await page.waitForURL(url)
}

/** What the browser sends to a host, in bytes: names, values and what stands between them. */
export async function cookieBytes(context: BrowserContext, url: string): Promise<number> {
  const cookies = await context.cookies(url)
  return cookies.map(({ name, value }) => `${name}=${value}`).join('; ').length
}

/** Whether the page is the identity provider's form. */
export async function asksToSignIn(page: Page): Promise<boolean> {
  return (await page.locator('input[type=password]').count()) === 1
}

/** Opens an address, once more if this machine's network changed meanwhile, as Chromium does for people. */
export async function openAgain(page: Page, url: string): Promise<void> {
  await page.goto(url).catch(error => {
    if (!String(error).includes('ERR_NETWORK_CHANGED')) throw error
    return page.goto(url)
  })
}
