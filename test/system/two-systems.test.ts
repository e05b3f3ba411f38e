/** Two systems on one machine, each with its own port and data: they know nothing of each other, and die alone. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'
import { type CountingOrigin, startCountingOrigin } from '../harness/counting-origin.ts'
import { descendantsOf, stillRunning } from '../harness/processes.ts'
import { UserAgent } from '../harness/user-agent.ts'

interface Started extends AsyncDisposable {
  readonly child: ChildProcess
  readonly pid: number
  readonly users: readonly { name: string; password: string }[]
  readonly applications: readonly { name: string; externalUrl: string }[]
}

/** The command as a user starts it; ended with the test. */
async function up(name: string, origin: CountingOrigin): Promise<Started> {
  const data = await mkdtemp(join(tmpdir(), 'sallyport-two-'))
  const port = String(await freePort())
  const words = ['--port', port, '--data', data, '--publish', `${name}=${origin.url}`]
  const child = spawn(
    process.execPath,
    ['sallyport.ts', 'up', '--json', '--log-level', 'silent', ...words],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const exited = once(child, 'exit')
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    exited.then(([code]) => Promise.reject(new Error(`${name} ended with ${code}`))),
  ])
  return {
    ...JSON.parse(line),
    child,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGTERM')
      await exited
      await rm(data, { recursive: true, force: true })
    },
  }
}

/** Signs the first sample user in at an application and answers the status of its page. */
async function statusAt(system: Started, application: string): Promise<number> {
  const [user] = system.users
  const url = system.applications.find(({ name }) => name === application)?.externalUrl
  if (!user || !url) throw new Error(`there is no ${application}`)
  using agent = new UserAgent()
  return (await agent.signIn(url, user.name, user.password)).status
}

test('a second system runs beside the first, and goes on when the first is killed with all its processes', async () => {
  await using origin = await startCountingOrigin()
  await using first = await up('wiki', origin)
  await using second = await up('ledger', origin)
  expect(await statusAt(first, 'wiki')).toBe(200)
  expect(await statusAt(second, 'ledger')).toBe(200)
  expect(first.applications.map(({ name }) => name)).not.toContain('ledger')
  expect(second.applications.map(({ name }) => name)).not.toContain('wiki')

  const children = (await descendantsOf(first.pid)).map(({ pid }) => pid)
  expect(children.length).toBeGreaterThanOrEqual(5)
  first.child.kill('SIGKILL')
  await expect.poll(() => stillRunning(children), { timeout: 15_000 }).toEqual([])
  expect(await statusAt(second, 'ledger')).toBe(200)
  expect(await stillRunning([second.pid])).toEqual([second.pid])
})
