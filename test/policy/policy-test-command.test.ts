/** `sallyport policy test`: fixtures in version control, decided by the evaluator of production. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { testPolicies, UnusableFixture } from '../../policy/cli/test-policies.ts'

const fixture = (name: string) => join(import.meta.dirname, 'fixtures', name)

async function written(content: unknown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-fixture-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'fixture.json')
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content))
  return file
}

const policy = {
  displayName: 'Block programs',
  state: 'enabled',
  conditions: {
    users: { includeUsers: ['All'] },
    applications: { includeApplications: ['All'] },
    clientAppTypes: ['other'],
  },
  grantControls: { operator: 'OR', builtInControls: ['block'] },
}
const signIn = { user: 'ada@example.com', application: 'wiki', clientAppType: 'other' }

test('an export of Entra is tested as it is, with the named locations beside it', () => {
  const results = testPolicies(fixture('entra-export.test-fixture.json'))
  expect(results.length).toBe(4)
  expect(results.flatMap(({ problems }) => problems)).toEqual([])
})

test('what is not as expected is said, with what it is', async () => {
  const expected = { outcome: 'grant', reasons: ['multifactor-ok'], policies: ['Other'] }
  const file = await written({
    policies: [policy],
    tests: [{ name: 'x', signIn, expect: expected }],
  })
  expect(testPolicies(file)).toEqual([
    {
      name: 'x',
      problems: [
        'outcome: expected "grant", is "block"',
        'reasons: expected ["multifactor-ok"], is ["policy-blocks"]',
        'policies: "Other" does not apply, "Block programs" applies',
      ],
    },
  ])
})

test.each<[string, unknown]>([
  ['no JSON', '{'],
  ['without tests', { policies: [policy], tests: [] }],
  [
    'of a missing file',
    { policies: ['missing.json'], tests: [{ name: 'x', signIn, expect: { outcome: 'grant' } }] },
  ],
  [
    'with a policy that is not enforced',
    {
      policies: [
        { ...policy, grantControls: { operator: 'OR', builtInControls: ['passwordChange'] } },
      ],
      tests: [{ name: 'x', signIn, expect: { outcome: 'grant' } }],
    },
  ],
  [
    'with an unknown condition',
    {
      policies: [policy],
      tests: [
        { name: 'x', signIn: { ...signIn, moonPhase: 'full' }, expect: { outcome: 'grant' } },
      ],
    },
  ],
  ['that expects nothing', { policies: [policy], tests: [{ name: 'x', signIn, expect: {} }] }],
])('a fixture %s is refused', async (_, content) => {
  const file = await written(content)
  expect(() => testPolicies(file)).toThrow(UnusableFixture)
})

test('a file nested without end is refused with the limit, also one that a fixture names', async () => {
  const deep = await written(`${'['.repeat(10_000)}${']'.repeat(10_000)}`)
  const expected = new UnusableFixture(`${deep} is nested too deeply: 64 levels at most`)
  expect(() => testPolicies(deep)).toThrow(expected)
  const tests = [{ name: 'x', signIn, expect: { outcome: 'grant' } }]
  const naming = await written({ policies: [deep], tests })
  expect(() => testPolicies(naming)).toThrow(expected)
})
