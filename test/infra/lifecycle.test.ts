/** How a process ends that has to end by itself. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { exitRemoved } from '#infra/lifecycle.ts'

/** A service that must end as soon as it is ready, and does not get done with disposing. */
const stuck = (lifecycle: string) => `
import { EndedForGood, run } from ${JSON.stringify(lifecycle)}
await run(async () => ({
  details: {},
  ended: Promise.reject(new EndedForGood('an administrator has removed it')),
  [Symbol.asyncDispose]: () => new Promise(() => setInterval(() => undefined, 1_000)),
}))
`

test('says why it ends before it disposes, and ends with the status of that even by force', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-lifecycle-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const script = join(folder, 'stuck.mts')
  await writeFile(script, stuck(import.meta.resolve('#infra/lifecycle.ts')))
  const child = fork(script, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] })
  const exited = once(child, 'exit')
  let said = ''
  child.stderr?.on('data', text => {
    said += text
  })
  await expect.poll(() => said, { timeout: 5_000 }).toBe('an administrator has removed it\n')
  expect(child.exitCode).toBeNull()
  expect(await exited).toEqual([exitRemoved, null])
})
