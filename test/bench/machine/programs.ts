/** Programs of the machine: found on the path; two of them installed from Debian's packages where that is possible. */

import { execFile } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** System programs that an ordinary user's path leaves out, and what Go has installed. */
const furtherFolders = ['/usr/sbin', '/usr/local/sbin', join(homedir(), 'go', 'bin')]

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

/** The paths of all of these, or the name of the first that is not there. */
export async function programPaths<Name extends string>(
  ...names: readonly Name[]
): Promise<Record<Name, string> | { missing: Name }> {
  const paths = await Promise.all(names.map(programPath))
  const missing = names.find((_, index) => paths[index] === undefined)
  if (missing !== undefined) return { missing }
  return Object.fromEntries(names.map((name, index) => [name, paths[index]])) as Record<
    Name,
    string
  >
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

/** Of what a program prints about itself, the first line that has a digit in it. */
export async function versionOf(program: string, options: string[]): Promise<string> {
  const { stdout, stderr } = await run(program, options).catch(error => error)
  const lines = `${stdout}\n${stderr}`.split('\n')
  return lines.find(line => /\d/.test(line))?.trim() ?? 'unknown'
}
