/** The data folder: one system at a time, nothing to clean up after a crash, secrets for their owner alone. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keepAuthority } from '#infra/authority.ts'
import { openDataFolder } from '#infra/embedded/data-folder.ts'
import { IdentityFolder } from '../../connector/identity/folder.ts'

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'data')
}

describe('a data folder', () => {
  it('is refused while another system uses it, and free afterwards', async () => {
    const path = await temporaryFolder()
    const first = await openDataFolder(path)
    await expect(openDataFolder(path)).rejects.toThrow(/--data: .* is in use by a running system/)
    await first[Symbol.asyncDispose]()
    await using second = await openDataFolder(path)
    expect(second.directory).toBe(path)
  })

  it('is free again after its user was killed', async () => {
    const path = await temporaryFolder()
    const script = `import { openDataFolder } from '#infra/embedded/data-folder.ts'
      await openDataFolder(${JSON.stringify(path)})
      process.stdout.write('open')
      setInterval(() => undefined, 1000)`
    const user = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(user.stdout, 'data')
    await expect(openDataFolder(path)).rejects.toThrow(/is in use/)
    const ended = once(user, 'exit')
    user.kill('SIGKILL')
    await ended
    await using folder = await openDataFolder(path)
    expect(folder.directory).toBe(path)
  })

  it('keeps its secrets over runs, and from everybody else', async () => {
    const path = await temporaryFolder()
    const first = await openDataFolder(path)
    const secret = await first.secret('admin-token')
    expect(secret).toMatch(/^[\w-]{43}$/)
    await first[Symbol.asyncDispose]()
    await using second = await openDataFolder(path)
    expect(await second.secret('admin-token')).toBe(secret)
    expect((await stat(second.secretFile('admin-token'))).mode & 0o077).toBe(0)
    expect((await stat(path)).mode & 0o077).toBe(0)
  })

  it('that cannot be created is named, with the reason', async () => {
    const path = await temporaryFolder()
    await writeFile(path, '')
    await expect(openDataFolder(path)).rejects.toThrow(/--data: .*(EEXIST|ENOTDIR)/)
    await expect(openDataFolder(join(path, 'below'))).rejects.toThrow(/--data: .*ENOTDIR/)
  })

  it.runIf(existsSync('/proc/self'))('is refused where nobody may make one', async () => {
    await expect(openDataFolder('/proc/one/two')).rejects.toThrow(/--data: .*ENOENT.* another/)
    const identity = new IdentityFolder('/proc/one/two')
    await expect(identity.nextKey()).rejects.toThrow(/IDENTITY_PATH: .*ENOENT.* another folder/)
    await expect(keepAuthority('/proc/one/two')).rejects.toThrow(/\/proc\/one\/two: .*ENOENT/)
  })
})
