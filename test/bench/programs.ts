/** Programs of the machine: found on the path, installed from Debian's packages where that is possible. */

import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Where system programs are that an ordinary user's path leaves out. */
const furtherFolders = ['/usr/sbin', '/usr/local/sbin']

export async function programPath(program: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...furtherFolders]
  for (const folder of folders) {
    const path = join(folder, program)
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return path
  }
  return undefined
}

/** Installs what is missing where this process may; otherwise it stays missing and the results say so. */
export async function installMissing(
  programs: readonly string[],
  report: (line: string) => void,
): Promise<void> {
  const found = await Promise.all(programs.map(programPath))
  const missing = programs.filter((_, index) => found[index] === undefined)
  if (missing.length === 0) return
  if (process.getuid?.() !== 0 || !(await programPath('apt-get'))) {
    report(`${missing.join(' and ')} cannot be installed here`)
    return
  }
  report(`installing ${missing.join(' and ')}`)
  // In runlevel 1 Debian starts no service that it has just installed.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  const arguments_ = ['install', '--yes', '--no-install-recommends', ...missing]
  try {
    await run('apt-get', arguments_, { env }).catch(async () => {
      await run('apt-get', ['update'], { env })
      await run('apt-get', arguments_, { env })
    })
  } catch {
    report(`${missing.join(' and ')} could not be installed`)
  }
}

/** Of what a program prints about itself. */
export async function firstLineOf(program: string, options: string[]): Promise<string> {
  const { stdout, stderr } = await run(program, options).catch(error => error)
  return `${stdout}${stderr}`.split('\n')[0] ?? ''
}
