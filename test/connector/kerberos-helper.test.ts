/** The process that speaks Kerberos may end at any time, the connector does not end with it. */

import { expect, onTestFinished, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { HelperProcess } from '../../connector/sign-on/kerberos/helper-process.ts'

const options = {
  options: {
    keytabPath: '/nonexistent/keytab',
    realm: 'X.TEST',
    maxUsers: 1,
    maxAgeMs: 1,
    marginMs: 1,
    lanes: 1,
  },
  krb5ConfigPath: '/nonexistent/krb5.conf',
  log: createLogger('test', 'silent'),
}

/** Nothing else happens meanwhile: what the system has to tell waits. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

test('questions to a helper that has just been killed all fail, and nothing else does', async () => {
  const broken: unknown[] = []
  const note = (error: unknown) => broken.push(error)
  process.on('uncaughtException', note)
  onTestFinished(() => void process.off('uncaughtException', note))
  await using helper = new HelperProcess(options)
  const ask = () => helper.ask({ type: 'check', timeoutMs: 60_000 }, 60_000)
  const first = ask()
  first.catch(() => undefined)
  process.kill(helper.pid as number, 'SIGKILL')
  standStill(200)
  const asked = await Promise.allSettled([first, ask(), ask(), ask()])
  for (const each of asked) expect(each).toMatchObject({ reason: { reason: 'helper_exited' } })
  expect(broken).toEqual([])
})
