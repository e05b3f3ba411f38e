/** The sockets of a process as the kernel lists them (Linux). */

import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

const listening = '0A'

/** Addresses at which a process listens for TCP, in the kernel's hexadecimal. */
export async function listeningSocketsOf(pid: number): Promise<string[]> {
  const inodes = new Set(await socketInodesOf(pid))
  const found: string[] = []
  for (const table of ['tcp', 'tcp6']) {
    const lines = (await readFile(`/proc/${pid}/net/${table}`, 'utf8')).trim().split('\n').slice(1)
    for (const line of lines) {
      const [, address = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
      if (state === listening && inodes.has(inode)) found.push(address)
    }
  }
  return found
}

/** Every TCP connection and listener of a process. */
async function socketInodesOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const links = await Promise.all(
    (await readdir(folder)).map(name => readlink(join(folder, name)).catch(() => '')),
  )
  return links.flatMap(link => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}
