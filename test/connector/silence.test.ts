/** When an origin has been silent for too long, and what does not count as silence. */

import { describe, expect, test } from 'vitest'
import { isMessageStream } from '#infra/http.ts'
import { Silence } from '../../connector/silence.ts'
import { application } from '../harness/application.ts'

const watch = (publishing: object = {}) =>
  new Silence(
    application('wiki', 'https://wiki.example.com/', {
      publishing: { firstByteTimeoutInSeconds: 2, idleTimeoutInSeconds: 5, ...publishing },
    }).onPremisesPublishing,
  )

describe('silence', () => {
  test('is over the limit only when nothing has moved for all of it', () => {
    const silence = watch()
    expect(silence.look('idle', 0, 0)).toBeUndefined()
    expect(silence.look('idle', 0, 4_999)).toBeUndefined()
    expect(silence.look('idle', 1, 5_000)).toBeUndefined()
    expect(silence.look('idle', 1, 9_999)).toBeUndefined()
    expect(silence.look('idle', 1, 10_000)).toMatchObject({
      code: 'origin_timeout',
      message: 'idle time-out: nothing for 5 s',
      isStarted: true,
    })
  })

  test('begins anew when the origin owes something else', () => {
    const silence = watch()
    silence.look('idle', 0, 0)
    expect(silence.look('firstByte', 0, 4_000)).toBeUndefined()
    expect(silence.look('firstByte', 0, 5_900)).toBeUndefined()
    expect(silence.look('firstByte', 0, 6_000)?.message).toContain('first byte')
  })

  test('does not count while the origin waits for us', () => {
    const silence = watch()
    silence.look('idle', 0, 0)
    for (let now = 0; now < 60_000; now += 250) silence.look(undefined, 0, now)
    expect(silence.look('idle', 0, 60_000)).toBeUndefined()
    expect(silence.look('idle', 0, 64_999)).toBeUndefined()
    expect(silence.look('idle', 0, 65_000)).toBeDefined()
  })

  test('of a stream that may be quiet has no limit, unless one is set', () => {
    const forever = watch()
    forever.look('streamIdle', 0, 0)
    expect(forever.look('streamIdle', 0, 1e12)).toBeUndefined()
    const bounded = watch({ streamIdleTimeoutInSeconds: 60 })
    bounded.look('streamIdle', 0, 0)
    expect(bounded.look('streamIdle', 0, 60_000)?.message).toContain('stream idle')
  })
})

test.each([
  ['text/event-stream', true],
  ['Text/Event-Stream; charset=utf-8', true],
  ['application/grpc', true],
  ['application/grpc+proto', true],
  ['text/html', false],
  ['application/json', false],
])('an answer of %s may be quiet for long: %s', (type, is) => {
  expect(isMessageStream(['Content-Type', type])).toBe(is)
  expect(isMessageStream([])).toBe(false)
})
