/** Names for libkrb5: everything that it would read in a second way, or crash on, is refused before it gets there. */

import { describe, expect, test } from 'vitest'
import { kerberosMappings, ServicePrincipalName } from '#infra/contracts/sign-on.ts'
import { isTicketOf, kerberosName } from '../../connector/sign-on/kerberos/names.ts'
import { principal } from '../harness/signed-origins.ts'

const realm = 'CORP.EXAMPLE'

const user = (name: string) =>
  principal({
    userPrincipalName: name,
    claims: { onPremisesUserPrincipalName: [name], onPremisesSamAccountName: [name] },
  })

/** What libkrb5 1.20 crashes on, cuts, unescapes or splits, and what is no name at all. */
const bad = [
  ...['alice@', '@corp.example', '', '@', 'alice@@corp.example', 'alice@a@corp.example'],
  ...['alice\0@corp.example', 'alice\0', 'alice\\@corp.example', 'al\\ice@corp.example'],
  ...['alice/admin@corp.example', 'alice/admin', 'al ice@corp.example', 'alice@corp..', 'alice@-x'],
  ...[
    'alice@corp example',
    'alice@corp/x',
    'alice@corp\\x',
    'a\nb@corp.example',
    'a"b@corp.example',
  ],
  ...[`${'a'.repeat(257)}@corp.example`, 'alice@corp.example\0', 'alice:x@corp.example'],
]

describe.each(kerberosMappings)('%s', mapping => {
  test.each(bad.map(name => [JSON.stringify(name), name]))('refuses %s', (_, name) => {
    expect(() => kerberosName(mapping, user(name), realm)).toThrow(
      expect.objectContaining({ reason: 'name_invalid' }),
    )
  })

  test('refuses a user who has no such name', () => {
    const without = principal({ userPrincipalName: '' })
    expect(() => kerberosName(mapping, without, realm)).toThrow(
      expect.objectContaining({ reason: 'name_invalid' }),
    )
  })
})

test('names that directories have are taken', () => {
  expect(kerberosName('userPrincipalName', user('jörg.o-neil+x@corp.example'), realm)).toEqual({
    name: 'jörg.o-neil+x@corp.example',
    type: 'enterprise',
  })
  expect(kerberosName('userPrincipalUsername', user("o'neil@contoso.example"), realm)).toEqual({
    name: `o'neil@${realm}`,
    type: 'principal',
  })
  expect(kerberosName('onPremisesSAMAccountName', user('svc_web$'), realm)).toEqual({
    name: `svc_web$@${realm}`,
    type: 'principal',
  })
})

test.each([
  ...['HTTP', 'HTTP/', '/host', 'HTTP/a/b', 'HTTP/a@REALM', 'HTTP/a\\b', 'HTTP/a b', 'HTTP/a\0'],
  ...['HT TP/a', 'HTTP/-a', 'HTTP/a:b', 'HTTP/a.'],
])('%j is no service principal name', name => {
  expect(ServicePrincipalName.safeParse(name).success).toBe(false)
})

test("a ticket of the connector's own account is nobody's", () => {
  const service = `svc@${realm}`
  const alice = { name: `alice@${realm}`, type: 'principal' } as const
  expect(isTicketOf(alice, `ALICE@${realm}`, service)).toBe(true)
  expect(isTicketOf(alice, `bob@${realm}`, service)).toBe(false)
  expect(isTicketOf({ name: 'a@x.example', type: 'enterprise' }, service, service)).toBe(false)
})
