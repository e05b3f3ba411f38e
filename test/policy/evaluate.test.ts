/** Decisions, held to the table in test/vectors/decisions.json: a change there is a change of what policy promises. */

import { describe, expect, test } from 'vitest'
import type { Application } from '#infra/contracts/application.ts'
import { Decision } from '#infra/contracts/policy.ts'
import { evaluate } from '../../policy/evaluate.ts'
import type { Access, SessionState } from '../../policy/gates/gate.ts'
import table from '../vectors/decisions.json' with { type: 'json' }
import { type ApplicationInput, application, facts, principal } from './applications.ts'

const published = new Map(
  Object.entries<ApplicationInput>(table.applications).map(([id, input]) => [
    id,
    application(id, input),
  ]),
)

interface Row {
  says: string
  application: string
  session?: string
  user?: { userPrincipalName: string; groups: string[] }
  outcome: string
  reasons: string[]
}

function accessOf({ application, session, user }: Row): Access {
  const state: SessionState = user
    ? { is: 'valid', principal: principal(user.userPrincipalName, user.groups) }
    : { is: session as 'absent' }
  return { application: published.get(application), session: state, facts }
}

describe('decision table', () => {
  test.each(table.decisions as Row[])('$says', row => {
    const { outcome, reasons } = row
    expect(evaluate(accessOf(row))).toEqual({ outcome, reasons, policies: [] })
  })
})

describe('evaluation', () => {
  const ada: SessionState = { is: 'valid', principal: principal('ada@example.com') }

  test('gives the same answer to the same question and changes nothing it is given', () => {
    const access = freeze({ application: published.get('wiki'), session: ada, facts })
    expect(evaluate(access)).toEqual(evaluate(access))
  })

  test('always gives a decision that fits its contract', () => {
    for (const application of [undefined, ...published.values()]) {
      for (const session of [ada, { is: 'absent' }, { is: 'unknown' }] as SessionState[]) {
        expect(Decision.safeParse(evaluate({ application, session, facts })).success).toBe(true)
      }
    }
  })

  test.each(['Passthru', 'passthru ', 'none', '', undefined, null, true])(
    'opens nothing without a session for the pre-authentication %j',
    externalAuthenticationType => {
      const wiki = published.get('wiki') as Application
      const onPremisesPublishing = { ...wiki.onPremisesPublishing, externalAuthenticationType }
      const damaged = { ...wiki, onPremisesPublishing } as Application
      const session: SessionState = { is: 'absent' }
      expect(evaluate({ application: damaged, session, facts }).outcome).toBe('challenge')
    },
  )

  test.each([undefined, null, 0, '', 'false'])(
    'asks for an assignment when appRoleAssignmentRequired is %j',
    appRoleAssignmentRequired => {
      const nobody = published.get('nobody') as object
      const damaged = { ...nobody, appRoleAssignmentRequired } as unknown as Application
      expect(evaluate({ application: damaged, session: ada, facts }).outcome).toBe('block')
    },
  )
})

function freeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(freeze)
    Object.freeze(value)
  }
  return value
}
