/** What may be sent to another connector: only what the origin cannot have seen. */

import { expect, test } from 'vitest'
import { asOriginError } from '../../connector/origin-error.ts'

const failure = (code: string, syscall?: string) =>
  Object.assign(new Error('failed'), { code, ...(syscall && { syscall }) })

test.each(['ECONNREFUSED', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'])(
  '%s while connecting: nothing was started',
  code => {
    const error = asOriginError(failure(code, 'connect'))
    expect(error).toMatchObject({ code: 'origin_unreachable', isStarted: false })
  },
)

test.each([
  ['ETIMEDOUT', 'read'],
  ['EHOSTUNREACH', 'read'],
  ['ENETUNREACH', 'write'],
  ['ETIMEDOUT', 'writev'],
])('%s in a %s: the origin may have carried it out', (code, syscall) => {
  const error = asOriginError(failure(code, syscall))
  expect(error).toMatchObject({ code: 'origin_unreachable', isStarted: true })
})

test('a connection that is not there in time is none, and the event says which time-out it was', () => {
  const error = asOriginError(failure('UND_ERR_CONNECT_TIMEOUT'))
  expect(error).toMatchObject({ code: 'origin_unreachable', isStarted: false })
  expect(error.message).toMatch(/^connect time-out: /)
})
