/** The embedded nats-server: found, started, ended with its parent, and honest about what went wrong. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Kvm } from '@nats-io/kv'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connectBus } from '#infra/bus.ts'
import { keepNatsServer } from '#infra/embedded/kept-nats-server.ts'
import { findNatsServer } from '#infra/embedded/nats-binary.ts'
import { startNatsServer } from '#infra/embedded/nats-server.ts'
import { portProblem } from '#infra/embedded/ports.ts'
import { createLogger } from '#infra/log.ts'
import { startTestNats } from '../harness/nats.ts'
import { stillRunning } from '../harness/processes.ts'

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A program that only says a version, in place of a nats-server. */
async function programThatSays(output: string): Promise<string> {
  const path = join(await temporaryFolder(), 'nats-server')
  await writeFile(path, `#!/bin/sh\necho '${output}'\n`)
  await chmod(path, 0o700)
  return path
}

describe('the embedded nats-server', () => {
  it('ends when its parent is killed with SIGKILL', async () => {
    const folder = await temporaryFolder()
    const parent = spawn(process.execPath, ['test/harness/nats-parent.ts', join(folder, 'store')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface({ input: parent.stdout }), 'line')
    const pid = Number(line)
    expect(await stillRunning([pid])).toEqual([pid])
    parent.kill('SIGKILL')
    await expect.poll(() => stillRunning([pid]), { timeout: 10_000 }).toEqual([])
  })

  it('keeps data and keys over a crash and a restart', async () => {
    await using nats = await startTestNats()
    const before = nats.server.urlFor('registry')
    const bus = await nats.connect('registry')
    const bucket = await new Kvm(bus.connection).create('kept')
    await bucket.put('key', 'value')
    await nats.restart()
    expect(nats.server.urlFor('registry')).toBe(before)
    await expect.poll(() => bus.isConnected, { timeout: 10_000 }).toBe(true)
    expect((await bucket.get('key'))?.string()).toBe('value')
  })

  it('lets nobody but the owner read its secrets', async () => {
    await using nats = await startTestNats()
    for (const file of ['role-keys.json', 'nats-server.conf']) {
      const { mode } = await stat(join(nats.storeDirectory, file))
      expect(mode & 0o077, file).toBe(0)
    }
  })

  it('takes no connection without a user, and none with a wrong password', async () => {
    await using nats = await startTestNats()
    const { connect } = await import('@nats-io/transport-node')
    const servers = `127.0.0.1:${nats.server.port}`
    await expect(connect({ servers })).rejects.toThrow(/authorization/i)
    await expect(connect({ servers, user: 'registry', pass: 'x' })).rejects.toThrow(
      /authorization/i,
    )
  })

  it('gives the server’s own reason when it ends at once', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as { port: number }
    const started = startNatsServer({ storeDirectory: await temporaryFolder(), port })
    await expect(started).rejects.toThrow(/address already in use/)
  })

  it('names the file when the kept keys cannot be read', async () => {
    const storeDirectory = await temporaryFolder()
    await writeFile(join(storeDirectory, 'role-keys.json'), '{"gateway":')
    await expect(startNatsServer({ storeDirectory })).rejects.toThrow(/role-keys\.json.*delete it/)
    expect(await readFile(join(storeDirectory, 'role-keys.json'), 'utf8')).toBe('{"gateway":')
  })
})

describe('the nats-server of a system', () => {
  it('is started again at the same port when it ends by itself, and its clients come back', async () => {
    const log = createLogger('test', 'silent')
    await using server = await keepNatsServer({ storeDirectory: await temporaryFolder(), log })
    await using bus = await connectBus({ url: server.urlFor('policy'), role: 'policy', log })
    const { port } = server
    server.process.kill('SIGKILL')
    await expect.poll(() => bus.isConnected).toBe(false)
    await expect.poll(() => bus.isConnected, { timeout: 10_000 }).toBe(true)
    expect(server.port).toBe(port)
  })

  it('stays away after it was killed on purpose, until it is started', async () => {
    const log = createLogger('test', 'silent')
    await using server = await keepNatsServer({ storeDirectory: await temporaryFolder(), log })
    await using bus = await connectBus({ url: server.urlFor('policy'), role: 'policy', log })
    await server.kill()
    await expect.poll(() => bus.isConnected).toBe(false)
    expect(await portProblem(server.port)).toBeUndefined()
    await server.start()
    await expect.poll(() => bus.isConnected, { timeout: 10_000 }).toBe(true)
  })
})

describe('looking for nats-server', () => {
  it('refuses one that is too old, and says what to do', async () => {
    const named = await programThatSays('nats-server: v2.9.10')
    await expect(findNatsServer({ named })).rejects.toThrow(
      /version 2\.9; 2\.12 or newer is needed[\s\S]*set NATS_SERVER/,
    )
  })

  it('never takes another one than the one that was named', async () => {
    const named = join(await temporaryFolder(), 'missing')
    await expect(findNatsServer({ named, path: process.env.PATH })).rejects.toThrow(
      `${named}: missing`,
    )
  })

  it('takes one from the version that is needed on', async () => {
    const named = await programThatSays('nats-server: v2.12.0')
    expect(await findNatsServer({ named })).toBe(named)
  })

  it('refuses a program that is something else', async () => {
    const named = await programThatSays('hello')
    await expect(findNatsServer({ named })).rejects.toThrow(/is no nats-server/)
  })
})
