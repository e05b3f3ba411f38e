/**
 * Runs in a mount name space of its own: an identity on a file system that has no room left, and then has some again.
 * Prints as JSON what became of it.
 */

import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectBus } from '#infra/bus.ts'
import { createLogger, type Logger } from '#infra/log.ts'
import { IdentityFolder } from '../../connector/identity/folder.ts'
import { RegistryTime } from '../../connector/identity/registry-time.ts'
import { renewInTime } from '../../connector/identity/renewal.ts'

const [source = '', url = ''] = process.argv.slice(2)
const quiet = createLogger('test', 'silent')
const small = await mkdtemp(join(tmpdir(), 'sallyport-small-'))
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', small])
await cp(source, join(small, 'identity'), { recursive: true })
const folder = new IdentityFolder(join(small, 'identity'))
const filler = join(small, 'filler')
await writeFile(filler, Buffer.alloc(1024 * 1024)).catch(() => undefined)

const lines: string[] = []
const note = (line: string) => void lines.push(line)
const log = { ...quiet, info: note, warn: note, error: note } as unknown as Logger
const serial = async () => (await folder.read())?.certificate.serialNumber
const until = async (isSo: () => Promise<boolean> | boolean) => {
  for (let count = 0; count < 400 && !(await isSo()); count++) await sleep(20)
}

const serialBefore = await serial()
const bus = await connectBus({ url, role: 'registry', log: quiet })
const time = new RegistryTime(log)
const renewal = renewInTime({ folder, bus: () => bus, time, log, retryMs: 20 })
await until(() => lines.length > 1)
const whenFull = lines[0]
const serialWhenFull = await serial()
await rm(filler)
await until(async () => (await serial()) !== serialBefore)
const serialAfter = await serial()
await renewal[Symbol.asyncDispose]()
await bus[Symbol.asyncDispose]()
process.stdout.write(JSON.stringify({ whenFull, serialBefore, serialWhenFull, serialAfter }))
