/** What runs on this machine, for tests of how processes end. One that waits to be reaped by its parent has ended. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

interface Running {
  pid: number
  parent: number
  command: string
}

async function running(): Promise<Running[]> {
  const { stdout } = await promisify(execFile)('ps', ['-A', '-o', 'pid=,ppid=,stat=,args='])
  return stdout
    .split('\n')
    .map(line => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line))
    .filter(parts => parts !== null && !parts[3]?.startsWith('Z'))
    .map(parts => ({
      pid: Number(parts?.[1]),
      parent: Number(parts?.[2]),
      command: parts?.[4] ?? '',
    }))
}

/** Direct and indirect children, whatever group they are in. */
export async function descendantsOf(pid: number): Promise<Running[]> {
  const all = await running()
  const found: Running[] = []
  for (let parents = [pid]; parents.length > 0; ) {
    const children = all.filter(({ parent }) => parents.includes(parent))
    found.push(...children)
    parents = children.map(child => child.pid)
  }
  return found.filter(({ command }) => !command.startsWith('ps -A'))
}

/** Those of the given processes that still run. */
export async function stillRunning(pids: readonly number[]): Promise<number[]> {
  const all = new Set((await running()).map(({ pid }) => pid))
  return pids.filter(pid => all.has(pid))
}
