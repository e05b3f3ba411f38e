/** What docs/sign-on.md says of failures is what the code does. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { kerberosMappings } from '#infra/contracts/sign-on.ts'
import { FAULTS } from '#infra/errors.ts'
import { kerberosVariables } from '../../connector/sign-on/kerberos/config.ts'
import { SignOnFailure, type SignOnReason, signOnReasons } from '../../connector/sign-on/reasons.ts'

const page = readFileSync(join(import.meta.dirname, '../../docs/sign-on.md'), 'utf8')

test('every reason is in the table, with the status that users see', () => {
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d{3}) \|/gm)]
  const documented = Object.fromEntries(rows.map(([, reason, status]) => [reason, Number(status)]))
  const reasons = Object.keys(signOnReasons) as SignOnReason[]
  const statuses = reasons.map(reason => FAULTS[new SignOnFailure(reason, '').fault].status)
  expect(documented).toEqual(Object.fromEntries(reasons.map((reason, i) => [reason, statuses[i]])))
})

test('every variable and every mapping is there', () => {
  for (const name of [...Object.keys(kerberosVariables), ...kerberosMappings])
    expect(page, name).toContain(`\`${name}\``)
})
