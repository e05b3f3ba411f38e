/** The site owner's rules: what they refuse, in every spelling, and what they leave alone. */

import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Principal } from '#infra/contracts/principal.ts'
import { compileVeto, VetoFile, type VetoQuestion } from '../../../connector/veto/rules.ts'

const user = (userPrincipalName: string, groups: string[] = []): Principal => ({
  subject: userPrincipalName,
  userPrincipalName,
  displayName: userPrincipalName,
  groups,
  amr: [],
  authTime: 0,
  issuer: 'https://idp.test/',
})

interface Asked {
  app?: string
  method?: string
  target?: string
  headers?: string[]
  isUpgrade?: boolean
  user?: Principal | null
}

const question = ({ app = 'wiki', user: by = null, ...more }: Asked = {}): VetoQuestion => ({
  method: 'GET',
  target: '/',
  headers: [],
  isUpgrade: false,
  claims: { app, user: by },
  ...more,
})

/** Whether one rule with these conditions refuses. */
const refuses = (rule: object, asked: Asked = {}, nowMs?: number) => {
  const veto = compileVeto(VetoFile.parse({ rules: [{ name: 'r', effect: 'deny', ...rule }] }))
  return veto(question(asked), nowMs) === 'r'
}

describe('a rule', () => {
  test('without conditions refuses everything, and says which one it was', () => {
    const veto = compileVeto(
      VetoFile.parse({
        rules: [
          { name: 'never', effect: 'deny', applications: ['shop'] },
          { name: 'closed', effect: 'deny' },
        ],
      }),
    )
    expect(veto(question())).toBe('closed')
    expect(veto(question({ app: 'shop' }))).toBe('never')
  })

  test('refuses nothing when there is none', () => {
    expect(compileVeto({ rules: [] })(question())).toBeUndefined()
  })

  test('is for the applications that it names, or for all others', () => {
    expect(refuses({ applications: ['wiki'] })).toBe(true)
    expect(refuses({ applications: ['shop'] })).toBe(false)
    expect(refuses({ exceptApplications: ['wiki'] })).toBe(false)
    expect(refuses({ exceptApplications: ['shop'] })).toBe(true)
  })

  test('needs all of its conditions', () => {
    const rule = { applications: ['wiki'], paths: ['/admin'], users: ['eve@x.test'] }
    const asked = { target: '/admin/x', user: user('eve@x.test') }
    expect(refuses(rule, asked)).toBe(true)
    expect(refuses(rule, { ...asked, app: 'shop' })).toBe(false)
    expect(refuses(rule, { ...asked, target: '/' })).toBe(false)
    expect(refuses(rule, { ...asked, user: user('ada@x.test') })).toBe(false)
  })
})

describe('users and groups', () => {
  test('are meant by name without regard to case, or by one of their groups', () => {
    const rule = { users: ['Eve@X.test'], groups: ['contractors'] }
    expect(refuses(rule, { user: user('eve@x.TEST') })).toBe(true)
    expect(refuses(rule, { user: user('bob@x.test', ['staff', 'contractors']) })).toBe(true)
    expect(refuses(rule, { user: user('bob@x.test', ['Contractors']) })).toBe(false)
    expect(refuses(rule, { user: null })).toBe(false)
  })

  test('that are excepted are let through, and nobody is not one of them', () => {
    const rule = { exceptUsers: ['ada@x.test'], exceptGroups: ['operators'] }
    expect(refuses(rule, { user: user('ada@x.test') })).toBe(false)
    expect(refuses(rule, { user: user('bob@x.test', ['operators']) })).toBe(false)
    expect(refuses(rule, { user: user('bob@x.test') })).toBe(true)
    expect(refuses(rule, { user: null })).toBe(true)
  })
})

describe('a path', () => {
  test.each([
    ...['/admin', '/admin/', '/admin/users', '/admin?x=1', '/ADMIN/x', '/admin;v=1/x'],
    ...['/%61dmin/x', '/%2561dmin/x', '//admin/x', '/admin%2Fx', '/admin./x', '/admin%20/x'],
    ...['/x/../admin', '/x%2f..%2fadmin', '/x\\..\\admin', '/%zz', '/admin%00', '/./admin'],
    ...['/x/%252e%252e/admin', '/x%255c..%255cadmin', '/x/.%252e;y/admin', '/admin%2500'],
    ...['/x/..%20/admin', '/x/%EF%BC%8E%EF%BC%8E/admin', '/x%EF%BC%BCadmin'],
    '*',
  ])('is refused as %s', target => {
    expect(refuses({ paths: ['/admin/'] }, { target })).toBe(true)
  })

  test.each([
    ...['/', '/administration', '/x/admin', '/?path=/admin', '/adm%20in', '/caf%C3%A9'],
    ...['/100%25', '/100%2525', '/.well-known/x', '/x/a..b', '/x/%2e%2e%2e', '/..%25x', '/%252ex'],
  ])('is let through as %s', target => {
    expect(refuses({ paths: ['/admin'] }, { target })).toBe(false)
  })

  test('of dots is judged as soon as any other', () => {
    const begun = performance.now()
    expect(refuses({ paths: ['/admin/'] }, { target: `/${'.'.repeat(30_000)}x` })).toBe(false)
    expect(performance.now() - begun).toBeLessThan(1_000)
  })

  test('with letters beyond ASCII is the same escaped, composed or not', () => {
    for (const target of ['/caf%C3%A9/x', '/cafe%CC%81/x', '/CAF%C3%89/x', '/caf%E9/x'])
      expect(refuses({ paths: ['/café/'] }, { target })).toBe(true)
  })

  test.each(['/public', '/public/', '/public/x?y=%2e%2e', '/public//x'])(
    'that is excepted is let through as %s',
    target => expect(refuses({ exceptPaths: ['/public'] }, { target })).toBe(false),
  )

  test.each([
    ...['/', '/publications', '/Public/x', '/public/../admin', '/public/%2e%2e/admin'],
    ...['/public%2f..%2fadmin', '/public\\..\\admin', '/%70ublic/x', '/public;x/../y', '*'],
    ...['/public/%252e%252e/admin', '/public%252f..%252fadmin', '/public%255c..%255cadmin'],
    ...['/public/%252e./admin', '/public/..%20/admin', '/public/%E2%80%A5/admin'],
  ])('that is excepted is not what %s is', target => {
    expect(refuses({ exceptPaths: ['/public'] }, { target })).toBe(true)
  })
})

describe('read-only', () => {
  const refusesIt = (asked: Asked) => refuses({ effect: 'readOnly' }, asked)

  test.each(['GET', 'HEAD', 'OPTIONS', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY'])(
    'lets %s through',
    method => expect(refusesIt({ method })).toBe(false),
  )

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'MKCOL', 'LOCK', 'get', 'CONNECT', 'RDG_IN_DATA'])(
    'refuses %s',
    method => expect(refusesIt({ method })).toBe(true),
  )

  test('refuses what switches protocols: nobody sees what is said then', () => {
    expect(refusesIt({ isUpgrade: true })).toBe(true)
  })

  test('refuses a method that stands for another one', () => {
    expect(refusesIt({ headers: ['X-HTTP-Method-Override', 'DELETE'] })).toBe(true)
  })
})

describe('hours', () => {
  test.each([
    [{ timeZone: 'Europe/Pris', from: '18:00', to: '06:00' }, /time zone.*hours\[0\]\.timeZone/s],
    [{ timeZone: 'Europe/Paris', from: '25:00', to: '06:00' }, /time of day.*hours\[0\]\.from/s],
    [[{ timeZone: 'Europe/Paris', from: '18:00' }], /hours\[0\]\.to/],
    ['18:00', /hours\[0\]/],
  ])('%j are refused with what is wrong', (hours, problem) => {
    const read = VetoFile.safeParse({ rules: [{ name: 'r', effect: 'deny', hours }] })
    expect(read.error && z.prettifyError(read.error)).toMatch(problem)
  })

  const zone = { timeZone: 'Europe/Paris' }
  const at = (hours: object, time: string) => refuses({ hours }, {}, Date.parse(time))

  test('are of the time zone that they name, summer time included', () => {
    const hours = { ...zone, from: '22:00', to: '23:00' }
    expect(at(hours, '2026-01-15T21:00:00Z')).toBe(true)
    expect(at(hours, '2026-01-15T20:59:59Z')).toBe(false)
    expect(at(hours, '2026-07-15T20:00:00Z')).toBe(true)
    expect(at(hours, '2026-07-15T21:00:00Z')).toBe(false)
  })

  test('may cross midnight, and then belong to the day on which they begin', () => {
    const hours = { ...zone, days: ['friday'], from: '18:00', to: '06:00' }
    expect(at(hours, '2026-01-16T17:00:00Z')).toBe(true)
    expect(at(hours, '2026-01-17T04:59:59Z')).toBe(true)
    expect(at(hours, '2026-01-17T05:00:00Z')).toBe(false)
    expect(at(hours, '2026-01-17T17:00:00Z')).toBe(false)
    expect(at(hours, '2026-01-16T04:00:00Z')).toBe(false)
  })

  test('may be several, and whole days', () => {
    const hours = [
      { ...zone, days: ['sunday'], from: '00:00', to: '24:00' },
      { ...zone, from: '12:00', to: '13:00' },
    ]
    expect(at(hours, '2026-01-17T23:00:00Z')).toBe(true)
    expect(at(hours, '2026-01-18T22:59:59Z')).toBe(true)
    expect(at(hours, '2026-01-18T23:00:00Z')).toBe(false)
    expect(at(hours, '2026-01-19T11:30:00Z')).toBe(true)
  })

  test('are judged anew as time goes on', () => {
    const hours = { ...zone, from: '22:00', to: '23:00' }
    const veto = compileVeto(VetoFile.parse({ rules: [{ name: 'r', effect: 'deny', hours }] }))
    const moments = ['20:59:59', '21:00:00', '21:59:59', '22:00:00']
    const answers = moments.map(time => veto(question(), Date.parse(`2026-01-15T${time}Z`)))
    expect(answers).toEqual([undefined, 'r', 'r', undefined])
  })
})

describe('a file is refused as a whole', () => {
  const rule = { name: 'r', effect: 'deny' }
  const hours = { timeZone: 'Europe/Paris', from: '08:00', to: '18:00' }

  test.each<[string, unknown]>([
    ['is a list', []],
    ['has no rules', {}],
    ['has another property', { rules: [], version: 1 }],
    ['has a rule without a name', { rules: [{ effect: 'deny' }] }],
    ['has a rule without an effect', { rules: [{ name: 'r' }] }],
    ['has an effect that is not known', { rules: [{ ...rule, effect: 'allow' }] }],
    ['has a condition that is not known', { rules: [{ ...rule, user: ['eve@x.test'] }] }],
    ['has two rules of one name', { rules: [rule, rule] }],
    ['has an empty list', { rules: [{ ...rule, users: [] }] }],
    ['has a path that is none', { rules: [{ ...rule, paths: ['admin'] }] }],
    ['has an escaped path', { rules: [{ ...rule, paths: ['/%61dmin'] }] }],
    [
      'has a time zone that is none',
      { rules: [{ ...rule, hours: { ...hours, timeZone: 'Paris' } }] },
    ],
    ['has a time that is none', { rules: [{ ...rule, hours: { ...hours, to: '25:00' } }] }],
    ['has hours without length', { rules: [{ ...rule, hours: { ...hours, to: '08:00' } }] }],
    ['has a day that is none', { rules: [{ ...rule, hours: { ...hours, days: ['Montag'] } }] }],
    [
      'has an application that can have no such name',
      { rules: [{ ...rule, applications: ['*'] }] },
    ],
  ])('when it %s', (_, file) => {
    expect(VetoFile.safeParse(file).success).toBe(false)
  })
})
