/** What a sign-in carries through the provider: bound to the browser that began it, readable for nobody else's use. */

import { expect, test } from 'vitest'
import { beginSignIn, newSignInSecret, returnedSignIn } from '../../gateway/sign-in-state.ts'

const secret = newSignInSecret()
const destination = { hostname: 'wiki.example', target: '/a?b', nonceHash: 'hash', tries: 0 }

test('a state that comes back to its browser yields the same nonce and verifier', () => {
  const begun = beginSignIn(secret, destination)
  expect(returnedSignIn(begun.state, secret)).toEqual({ destination, parameters: begun })
})

test('two sign-ins of one browser share nothing', () => {
  const [one, two] = [beginSignIn(secret, destination), beginSignIn(secret, destination)]
  expect(
    new Set([one.state, two.state, one.nonce, two.nonce, one.codeVerifier, two.codeVerifier]).size,
  ).toBe(6)
})

test('a verifier has the length and alphabet that RFC 7636 §4.1 asks for', () => {
  expect(beginSignIn(secret, destination).codeVerifier).toMatch(/^[\w-]{43,128}$/)
})

test.each([
  ['another browser', (state: string) => returnedSignIn(state, newSignInSecret())],
  ['a browser without the cookie', (state: string) => returnedSignIn(state, undefined)],
  [
    'a state whose target was changed',
    (state: string) => {
      const [payload = '', tag] = state.split('.')
      const changed = {
        ...JSON.parse(Buffer.from(payload, 'base64url').toString()),
        target: '/evil',
      }
      return returnedSignIn(
        `${Buffer.from(JSON.stringify(changed)).toString('base64url')}.${tag}`,
        secret,
      )
    },
  ],
  [
    'a state without its tag',
    (state: string) => returnedSignIn(state.split('.')[0] as string, secret),
  ],
  [
    'a state whose tag is none',
    (state: string) => returnedSignIn(`${state.split('.')[0]}.${'é'.repeat(43)}`, secret),
  ],
])('%s gets no parameters, so no code can be exchanged', (_name, attempt) => {
  expect(attempt(beginSignIn(secret, destination).state)?.parameters).toBeUndefined()
})

test.each([
  '',
  '.',
  'x.y',
  `${Buffer.from('{}').toString('base64url')}.x`,
  `${Buffer.from('[1').toString('base64url')}.x`,
])('what was never a state of ours (%j) is none', state => {
  expect(returnedSignIn(state, secret)).toBeUndefined()
})

test.each([
  ['of another site', 'https://evil.example/'],
  ['with a control character, which no redirect can carry', '/\0'],
  ['with what is no octet', '/\u20ac'],
])('a target %s never comes out of a state', (_what, target) => {
  const foreign = beginSignIn(secret, { ...destination, target })
  expect(returnedSignIn(foreign.state, secret)).toBeUndefined()
})

test.each([
  '//evil.example/',
  '///evil.example',
  '/\\evil.example',
  '/\t/evil.example/',
  '/\t\\/\tevil.example',
])('a target that browsers take for another site (%j) stays at the host', target => {
  const returned = returnedSignIn(beginSignIn(secret, { ...destination, target }).state, secret)
  expect(new URL(returned?.destination.target ?? '', 'https://wiki.example').hostname).toBe(
    'wiki.example',
  )
})
