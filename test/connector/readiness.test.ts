/** Which origins are looked for, how long, and who is told. */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import type { Dialer } from '../../connector/dial.ts'
import { watchReadiness } from '../../connector/readiness.ts'

function watch() {
  const probed: string[] = []
  let changes = 0
  const dialer = {
    probe: async (origin: string) => {
      probed.push(origin)
      return origin.endsWith(':81')
    },
  } as Partial<Dialer> as Dialer
  const log = createLogger('test', 'silent')
  const readiness = watchReadiness({ log, dialer, onChange: () => changes++ })
  onTestFinished(() => readiness[Symbol.dispose]())
  return { probed, readiness, changes: () => changes }
}

test('an origin that is down is looked for until it answers', async () => {
  const { readiness, probed, changes } = watch()
  readiness.failed('http://a:80', 'refused')
  readiness.failed('http://a:81', 'refused')
  expect([...readiness.down().keys()]).toEqual(['http://a:80', 'http://a:81'])
  await expect.poll(() => [...readiness.down().keys()]).toEqual(['http://a:80'])
  expect(changes()).toBe(3)
  await expect.poll(() => probed).toEqual(['http://a:80', 'http://a:81', 'http://a:80'])
})

test('an origin to which no application leads any more is not looked for', async () => {
  const { readiness, probed, changes } = watch()
  readiness.failed('http://a:80', 'refused')
  readiness.failed('http://b:80', 'refused')
  readiness.keepOnly(new Set(['http://b:80']))
  expect(changes()).toBe(3)
  expect([...readiness.down()]).toEqual([['http://b:80', 'refused']])
  readiness.keepOnly(new Set())
  await sleep(1_100)
  expect(probed).toEqual([])
})

test('an attempt that fails when all is over has nobody look', async () => {
  const { readiness, probed } = watch()
  readiness[Symbol.dispose]()
  readiness.failed('http://a:80', 'refused')
  await sleep(700)
  expect(probed).toEqual([])
})
