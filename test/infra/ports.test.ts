/** Free ports are chosen before whoever is to have them listens, and are listened on again after a crash. */

import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { openDataFolder } from '#infra/embedded/data-folder.ts'
import { adminPort, keptPort } from '#infra/embedded/kept-port.ts'
import { freePort, portProblem } from '#infra/embedded/ports.ts'
import { createLogger } from '#infra/log.ts'
import { givenAway } from '../harness/given-away.ts'

const some = (count: number) => Promise.all(Array.from({ length: count }, freePort))

test.skipIf(process.platform !== 'linux')(
  'a free port is none that the system gives to whoever connects, or listens at any port',
  async () => {
    expect(await givenAway(await some(20))).toEqual([])
  },
)

test('it is given once, also to those who ask at the same time', async () => {
  const ports: number[] = []
  for (let round = 0; round < 50; round++) ports.push(...(await some(8)))
  expect(new Set(ports).size).toBe(400)
})

test('one that is in use is not given', async () => {
  const taken = (await freePort()) + 1
  const server = createServer().listen(taken, '127.0.0.1')
  // Whoever else has it, it is in use.
  await once(server, 'listening').catch(() => undefined)
  expect(await portProblem(taken)).toBe('EADDRINUSE')
  expect(await freePort()).not.toBe(taken)
  server.close()
})

describe('a port that is kept', () => {
  async function folderAndLog() {
    const path = await mkdtemp(join(tmpdir(), 'sallyport-ports-'))
    const folder = await openDataFolder(path)
    onTestFinished(async () => {
      await folder[Symbol.asyncDispose]()
      await rm(path, { recursive: true })
    })
    return { folder, log: createLogger('test', 'silent') }
  }

  async function takenPort(): Promise<number> {
    const server = createServer().listen(await freePort(), '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    return (server.address() as AddressInfo).port
  }

  test('is the usual one if that is free, and otherwise one that stays', async () => {
    const options = await folderAndLog()
    const usual = await freePort()
    expect(await keptPort(options, 'one', '', usual)).toBe(usual)
    const other = await keptPort(options, 'other', '', await takenPort())
    expect(await keptPort(options, 'other', '', usual)).toBe(other)
  })

  test('is not kept where another one was asked for, which is refused when it is taken', async () => {
    const options = { ...(await folderAndLog()), gatewayPort: 0 }
    const kept = await adminPort({ ...options, environment: {} })
    const [free, taken] = [await freePort(), await takenPort()]
    const asked = (port: number) =>
      adminPort({ ...options, environment: { SALLYPORT_REGISTRY_PORT: String(port) } })
    expect(await asked(free)).toBe(free)
    await expect(asked(taken)).rejects.toThrow(`SALLYPORT_REGISTRY_PORT: ${taken} is in use`)
    expect(await adminPort({ ...options, environment: {} })).toBe(kept)
  })
})
