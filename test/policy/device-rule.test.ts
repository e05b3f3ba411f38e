/** The rules of device filters, in Entra's syntax. */

import { describe, expect, test } from 'vitest'
import { compileDeviceRule, RuleProblem } from '#infra/contracts/conditional-access/device-rule.ts'

const device = {
  deviceId: 'd1',
  displayName: 'SAW-17',
  isCompliant: true,
  trustType: 'AzureAD',
  operatingSystemVersion: '10.0.22631',
  physicalIds: ['[USER-GID]:x', '[OrderId]:lab'],
}

describe('a rule holds', () => {
  test.each<[string, boolean]>([
    ['device.displayName -eq "saw-17"', true],
    ['device.displayName -ne "SAW-17"', false],
    ['device.displayName -startsWith "SAW"', true],
    ['device.displayName -notStartsWith "SAW"', false],
    ['device.displayName -endsWith "18"', false],
    ['device.displayName -notEndsWith "18"', true],
    ['device.displayName -contains "W-1"', true],
    ['device.displayName -notContains "W-1"', false],
    ['device.trustType -in ["ServerAD", "AzureAD"]', true],
    ['device.trustType -notIn ["ServerAD", "AzureAD"]', false],
    ['device.isCompliant -eq True', true],
    ['device.isCompliant -eq false', false],
    ['device.physicalIds -contains "[orderid]:LAB"', true],
    ['device.model -eq "x"', false],
    ['device.model -ne "x"', true],
    ["device.displayName -eq 'SAW-17'", true],
    ['DEVICE.DISPLAYNAME -EQ "SAW-17"', true],
    ['device.isCompliant -eq True -and device.trustType -eq "ServerAD"', false],
    ['device.isCompliant -eq True -or device.trustType -eq "ServerAD"', true],
    // -and binds closer than -or.
    ['device.isCompliant -eq True -or device.model -eq "x" -and device.model -eq "y"', true],
    ['(device.isCompliant -eq True -or device.model -eq "x") -and device.model -eq "y"', false],
    ['-not (device.isCompliant -eq True)', false],
    ['-not device.model -eq "x"', true],
    ['device.displayName -eq "a \\"quoted\\" name"', false],
  ])('%s: %s', (rule, expected) => {
    expect(compileDeviceRule(rule)(device)).toBe(expected)
  })
})

test.each([
  '',
  'device.displayName',
  'device.displayName -eq',
  'device.displayName -eq SAW',
  'device.displayName -like "x"',
  'device.constructor -eq "x"',
  'user.name -eq "x"',
  'device.model -in "x"',
  'device.model -in ["x"',
  '(device.model -eq "x"',
  'device.model -eq "x")',
  'device.model -eq "x" device.model -eq "y"',
  'device.model -eq "x" -and',
  'device.model -eq "x',
  'device.model -toString "x"',
  '{}',
  `${'('.repeat(100)}device.model -eq "x"${')'.repeat(100)}`,
])('%j is refused', rule => {
  expect(() => compileDeviceRule(rule)).toThrow(RuleProblem)
})
