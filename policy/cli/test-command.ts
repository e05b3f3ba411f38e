/** The command `sallyport policy test`: prints each test with what differs; ends with 1 when one failed, 2 when unusable. */

import { type TestResult, testPolicies, UnusableFixture } from './test-policies.ts'

export function testCommand(files: readonly string[]): void {
  try {
    const results = files.flatMap(file => testPolicies(file))
    for (const result of results) process.stdout.write(lineOf(result))
    const failed = results.filter(({ problems }) => problems.length > 0)
    process.stdout.write(`${results.length - failed.length} passed, ${failed.length} failed\n`)
    if (failed.length > 0) process.exitCode = 1
  } catch (error) {
    if (!(error instanceof UnusableFixture)) throw error
    process.stderr.write(`sallyport: ${error.message}\n`)
    process.exitCode = 2
  }
}

function lineOf({ name, problems }: TestResult): string {
  if (problems.length === 0) return `ok      ${name}\n`
  return [`FAILED  ${name}\n`, ...problems.map(problem => `        ${problem}\n`)].join('')
}
