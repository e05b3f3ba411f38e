/** What stands between tokens and headers: challenges alone and in lists, and octets that somebody else made. */

import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { negotiateChallenge, withoutNegotiate } from '../../connector/sign-on/challenges.ts'
import { asRequest, readKdcAnswer } from '../../connector/sign-on/kerberos/as-request.ts'
import { readElement } from '../../connector/sign-on/kerberos/der.ts'
import { unwrapReply, wrapInitial } from '../../connector/sign-on/kerberos/spnego.ts'

const field = (value: string) => ['WWW-Authenticate', value]

describe('a challenge', () => {
  test.each([
    ['Negotiate', undefined, undefined],
    ['negotiate YWJj', 'abc', undefined],
    ['Negotiate, Basic realm="x"', undefined, 'Basic realm="x"'],
    ['Basic realm="x", Negotiate YWJj', 'abc', 'Basic realm="x"'],
    ['Bearer a="b", NEGOTIATE, Basic realm="x"', undefined, 'Bearer a="b", Basic realm="x"'],
  ])('%j is found, and what remains is not ours', (value, reply, rest) => {
    expect(negotiateChallenge(field(value))?.reply?.toString()).toBe(reply)
    expect(withoutNegotiate(field(value))).toEqual(rest === undefined ? [] : field(rest))
  })

  test.each(['Basic realm="Negotiate"', 'NTLM', 'Negotiated x', 'Bearer negotiate="1"'])(
    '%j is none of Kerberos',
    value => {
      expect(negotiateChallenge(field(value))).toBeUndefined()
      expect(withoutNegotiate(field(value))).toEqual(field(value))
    },
  )

  test('in a header of another name means nothing', () => {
    expect(withoutNegotiate(['X-Authenticate', 'Negotiate'])).toEqual([
      'X-Authenticate',
      'Negotiate',
    ])
  })
})

describe('the envelope', () => {
  test('of a token is the one of RFC 4178, in lengths of one, two and three octets', () => {
    for (const length of [3, 200, 70_000]) {
      const token = randomBytes(length)
      const wrapped = wrapInitial(token)
      expect(wrapped[0]).toBe(0x60)
      expect(wrapped.subarray(-length)).toEqual(token)
      expect(readElement(wrapped, 0).next).toBe(wrapped.length)
    }
  })

  test('of a reply is opened; a bare reply passes', () => {
    const reply = Buffer.from('a1143012a0030a0100a20b0409', 'hex')
    const whole = Buffer.concat([reply, Buffer.from('the token')])
    expect(Buffer.from(unwrapReply(whole)).toString()).toBe('the token')
    const bare = Buffer.from('6003010203', 'hex')
    expect(unwrapReply(bare)).toEqual(bare)
  })

  test('of whatever an origin or a KDC may send ends in an error, never in a crash or a loop', () => {
    for (let i = 0; i < 5_000; i++) {
      const octets = randomBytes(i % 64)
      const read = [
        () => unwrapReply(octets),
        () => unwrapReply(Buffer.concat([Buffer.from([0xa1]), octets])),
        () => readKdcAnswer(Buffer.concat([Buffer.from([0, 0, 0, octets.length]), octets])),
      ]
      for (const attempt of read) {
        try {
          attempt()
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError)
        }
      }
    }
  })
})

test('a question to a KDC is one element behind its length', () => {
  const question = asRequest('CORP.EXAMPLE', 'sallyport-connector')
  expect(question.readUInt32BE()).toBe(question.length - 4)
  expect(readElement(question, 4)).toMatchObject({ tag: 0x6a, next: question.length })
  expect(readKdcAnswer(question.subarray(0, 3))).toBeUndefined()
})
