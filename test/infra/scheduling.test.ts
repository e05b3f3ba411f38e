/** What Linux is told of a service. */

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { schedulingPolicy, takeTurns } from '#infra/scheduling.ts'

// As sched.h numbers them.
const batch = '3'
const idle = '5'

async function started(command: string, ...args: string[]): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child.pid as number
}

test.skipIf(process.platform !== 'linux')(
  'a process takes its turn with all its threads',
  async () => {
    const pid = await started(process.execPath, '-e', 'console.log(1); setInterval(() => 1, 1_000)')
    expect(schedulingPolicy(pid)).toBe('0')
    await takeTurns(pid)
    const threads = readdirSync(`/proc/${pid}/task`)
    expect(threads.length).toBeGreaterThan(1)
    const policies = threads.map(thread => schedulingPolicy(Number(thread)))
    expect(new Set(policies)).toEqual(new Set([batch]))
  },
)

test.skipIf(process.platform !== 'linux')('a policy that somebody has chosen stays', async () => {
  const pid = await started('chrt', '--idle', '0', 'sh', '-c', 'echo 1; exec sleep 60')
  await takeTurns(pid)
  expect(schedulingPolicy(pid)).toBe(idle)
})

test('a process that is not there is no error', async () => {
  const { pid } = spawnSync('true')
  expect(schedulingPolicy(pid)).toBeUndefined()
  await takeTurns(pid)
})
