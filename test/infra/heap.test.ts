/** V8's flags have no stability but that of a Node version. */

import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { heapFlags } from '#infra/heap.ts'

test('the V8 of this Node knows every flag that services set', () => {
  const { stdout } = spawnSync(process.execPath, ['--v8-options'], { encoding: 'utf8' })
  for (const flag of heapFlags) {
    const [name = ''] = flag.split('=')
    expect(stdout).toContain(`\n  ${name.replace('--no-', '--')} (`)
  }
})
