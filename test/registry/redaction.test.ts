/** `SALLYPORT_AUDIT_REDACT=user` where users are not whoever is signed in, but what an administrator asks about. */

import { expect, test } from 'vitest'
import { subjects } from '#infra/subjects.ts'
import { keepSignals } from './conditional-access.ts'
import { listen, publish, startTestRegistry } from './fixture.ts'

const user = 'ulrike@example.com'
const assignments = `/users/${user}/appRoleAssignments`

test('no event of an administrator names a user, whatever was asked, and each says the rest', async () => {
  await using registry = await startTestRegistry({ SALLYPORT_AUDIT_REDACT: 'user' })
  await keepSignals(registry)
  const { send } = registry
  const events = await listen(registry.nats, 'auditor', subjects.audits)
  await publish(registry, 'wiki')
  const assignedTo = '/servicePrincipals/wiki/appRoleAssignedTo'
  const one = await send('POST', assignedTo, { principalType: 'User', principalId: user })
  await send('POST', assignedTo, { principalType: 'Group', principalId: 'Staff' })
  await send('DELETE', `${assignments}/${one.body.id}`)
  await send('POST', `/users/${user}/revokeSignInSessions`)
  await send('POST', '/identityProtection/riskyUsers/dismiss', { userIds: [user] })
  const fact = '/identity/conditionalAccess/facts/on-call'
  await send('PUT', fact, { value: true, scope: 'user', about: user })
  await send('DELETE', `${fact}?scope=user&about=${user}`)
  const resources = (outcome: RegExp) =>
    events
      .filter(event => event.category === 'admin' && outcome.test(String(event.outcome)))
      .map(({ resource }) => resource)
      .sort()
  await expect
    .poll(() => resources(/created|updated|deleted/))
    .toEqual([
      'applications/wiki',
      'facts/user/[redacted]/on-call',
      'facts/user/[redacted]/on-call',
      'riskyUsers/[redacted]',
      'servicePrincipals/wiki/appRoleAssignedTo/Group:Staff',
      'servicePrincipals/wiki/appRoleAssignedTo/User:[redacted]',
      'servicePrincipals/wiki/appRoleAssignedTo/User:[redacted]',
      'users/[redacted]/signInSessions',
    ])
  await send('POST', assignments, {})
  await send('DELETE', `/Users('ulrike%40example.com')/appRoleAssignments/none`)
  for (const path of [`/users/${user}`, '/users/ulrike/%zz', '/me/ulrike'])
    await send('DELETE', path)
  await fetch(`${registry.url}/beta${assignments}`)
  await expect
    .poll(() => resources(/refused/))
    .toEqual([
      '[redacted]',
      '[redacted]',
      '[redacted]',
      'users/[redacted]/appRoleAssignments',
      'users/[redacted]/appRoleAssignments',
      'users/[redacted]/appRoleAssignments/none',
    ])
  expect(JSON.stringify(events)).not.toContain('ulrike')
})
