/** The tests' own browser stand-in: a cookie that it keeps wrongly would hide a fault of the product. */

import { describe, expect, test } from 'vitest'
import { CookieJar } from './harness/cookie-jar.ts'
import { findForm, formEntries } from './harness/forms.ts'

const wiki = new URL('http://wiki.sallyport.localhost:8080/app/page')
const other = new URL('http://other.sallyport.localhost:8080/app/page')

describe('cookies', () => {
  test('stay with the host that set them, on every port', () => {
    const jar = new CookieJar()
    jar.set('a=1; Path=/', wiki)
    expect(jar.header(other)).toBeUndefined()
    expect(jar.header(new URL('http://wiki.sallyport.localhost:9090/'))).toBe('a=1')
  })

  test('of a parent domain reach its hosts, but nobody sets one for all of localhost', () => {
    const jar = new CookieJar()
    expect(jar.set('a=1; Path=/; Domain=sallyport.localhost', wiki)).toBe(true)
    expect(jar.header(other)).toBe('a=1')
    expect(jar.set('b=1; Path=/; Domain=localhost', wiki)).toBe(false)
    expect(jar.set('c=1; Path=/; Domain=other.sallyport.localhost', wiki)).toBe(false)
  })

  test('follow their path by whole segments, the longer path first', () => {
    const jar = new CookieJar()
    jar.set('root=1; Path=/', wiki)
    jar.set('app=1; Path=/app', wiki)
    jar.set('below=1', wiki)
    expect(jar.header(wiki)).toBe('app=1; below=1; root=1')
    expect(jar.header(new URL('/application', wiki))).toBe('root=1')
  })

  test('with the __Host- prefix need Secure, no domain and the path /', () => {
    const jar = new CookieJar()
    expect(jar.set('__Host-s=1; Path=/; Secure', wiki)).toBe(true)
    expect(jar.set('__Host-s=1; Path=/', wiki)).toBe(false)
    expect(jar.set('__Host-s=1; Path=/app; Secure', wiki)).toBe(false)
    expect(jar.set('__Host-s=1; Path=/; Secure; Domain=sallyport.localhost', wiki)).toBe(false)
  })

  test('that are secure work on plain localhost and nowhere else in the clear', () => {
    const jar = new CookieJar()
    const plain = new URL('http://wiki.corp.example/')
    expect(jar.set('a=1; Path=/; Secure', plain)).toBe(false)
    expect(jar.set('a=1; Path=/; Secure', new URL('https://wiki.corp.example/'))).toBe(true)
    expect(jar.header(plain)).toBeUndefined()
  })

  test('end with Max-Age=0 or a date that has passed', () => {
    const jar = new CookieJar()
    for (const end of ['Max-Age=0', 'Expires=Thu, 01 Jan 1970 00:00:00 GMT']) {
      jar.set('a=1; Path=/', wiki)
      jar.set(`a=; Path=/; ${end}`, wiki)
      expect(jar.header(wiki)).toBeUndefined()
    }
  })
})

describe('forms', () => {
  const markup = `<form action="/search"><input name="q"></form>
    <form action="/save?a=1&amp;b=2" method="POST"><input type="hidden" name="xsrf" value="&quot;x&#39;">
    <input type="checkbox" name="off" value="1"><input type="checkbox" name="on" value="1" checked>
    <textarea name="note">a &lt; b</textarea><button name="go" value="1">Go</button></form>`

  test('are found by their action and keep what they hide', () => {
    expect(findForm(markup)?.action).toBe('/search')
    const form = findForm(markup, '/save')!
    expect(form).toMatchObject({ action: '/save?a=1&b=2', method: 'post' })
    expect(formEntries(form)).toEqual([
      ['xsrf', `"x'`],
      ['on', '1'],
      ['note', 'a < b'],
    ])
  })
})
