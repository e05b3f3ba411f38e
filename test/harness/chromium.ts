/**
 * A real browser for the tests that need one. Chromium takes every `*.localhost` for loopback by itself and treats
 * it as a secure context. The flags keep it from calling home; where no browser is found, its tests are skipped,
 * but with CI set that is an error.
 */

import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const executablePath = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find(path => path !== undefined && existsSync(path))

if (executablePath === undefined && process.env.CI)
  throw new Error('no Chromium: install it, or set CHROMIUM_PATH')

export const hasChromium = executablePath !== undefined

const quiet = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-sync',
  '--metrics-recording-only',
  '--no-first-run',
  '--no-pings',
]

/** Close it with `await using`. As root, Chromium only starts without its sandbox. */
export function launch(): Promise<Browser> {
  if (executablePath === undefined) throw new Error('no Chromium: set CHROMIUM_PATH')
  const asRoot = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath, args: [...quiet, ...asRoot] })
}
