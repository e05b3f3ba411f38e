/** Which KDC is asked, when everything but a KDC can fail too. */

import { once } from 'node:events'
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { Kdcs } from '../../connector/sign-on/kerberos/kdcs.ts'

/** The shortest answer that is one of a KDC: an empty AS-REP behind its length. */
const answer = Buffer.from([0, 0, 0, 2, 0x6b, 0])

async function startKdc(): Promise<number> {
  const server = createServer(socket => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write(answer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

test('Kerberos is used again once the configuration can be written again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-kdcs-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const port = await startKdc()
  const turns: boolean[] = []
  using kdcs = new Kdcs({
    realm: 'X.TEST',
    kdcs: [{ host: '127.0.0.1', port }],
    configPath: join(folder, 'krb5.conf'),
    log: createLogger('test', 'silent'),
    onTurn: isUp => turns.push(isUp),
    onOther: () => undefined,
    onTime: () => undefined,
  })
  await kdcs.start()
  kdcs.suspect()
  await rename(folder, `${folder}-away`)
  await sleep(1_500)
  expect(turns).toEqual([false])
  await rename(`${folder}-away`, folder)
  await rm(join(folder, 'krb5.conf'))
  await expect.poll(() => turns, { timeout: 5_000 }).toEqual([false, true])
  expect(await readFile(join(folder, 'krb5.conf'), 'utf8')).toContain(`kdc = 127.0.0.1:${port}`)
})
