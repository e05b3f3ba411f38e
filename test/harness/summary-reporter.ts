/** Ends the output with "N passed, N failed[, N skipped]" alone on a line, for readers that know no vitest. */

import { writeSync } from 'node:fs'
import type { Reporter, TestModule, TestRunEndReason } from 'vitest/node'

export default class SummaryReporter implements Reporter {
  onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly unknown[],
    reason: TestRunEndReason,
  ): void {
    const counts = { passed: 0, failed: errors.length, skipped: 0 }
    for (const module of modules) countModule(module, counts)
    if (reason === 'failed' && counts.failed === 0) counts.failed = 1
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    // At exit, so that it follows the closing lines of the other reporters.
    process.once('exit', () =>
      writeSync(1, `\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`),
    )
  }
}

function countModule(
  module: TestModule,
  counts: { passed: number; failed: number; skipped: number },
): void {
  const failedBefore = counts.failed
  for (const test of module.children.allTests()) {
    const { state } = test.result()
    if (state === 'passed' || state === 'failed') counts[state]++
    else counts.skipped++
  }
  // A file that could not be loaded, or a failing hook, fails the module without failing a test.
  if (module.state() === 'failed' && counts.failed === failedBefore) counts.failed++
}
