/**
 * Small files that matter (keys, certificates, identities): readable by their owner alone, and at every moment either
 * the old content or the new one, also after a power cut or on a full disk.
 */

import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

const ownFolder = 0o700

/**
 * Makes a folder and those above it, unless they are there. Node's own way never comes to an end where nobody may make
 * one, as below /proc.
 */
export async function createFolder(path: string, mode = ownFolder): Promise<void> {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    if (await isFolder(path)) return
    const above = dirname(path)
    const isAboveMissing = (error as NodeJS.ErrnoException).code === 'ENOENT' && above !== path
    if (!isAboveMissing || (await isFolder(above))) throw error
    await createFolder(above, mode)
    await createFolder(path, mode)
  }
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    found => found.isDirectory(),
    () => false,
  )
}

/** Puts a new content in the place of the old one; a failure leaves the old one as it was. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const draft = await writeDraft(path, content)
  await rename(draft, path).catch(error => discard(draft, error))
  await syncFolder(dirname(path))
}

/** Writes a file unless there is one; whoever comes first decides. Returns what is there then. */
export async function createFile(path: string, content: string): Promise<string> {
  const draft = await writeDraft(path, content)
  try {
    await link(draft, path)
    await syncFolder(dirname(path))
    return content
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return await readFile(path, 'utf8')
  } finally {
    await rm(draft, { force: true })
  }
}

/** Undefined when there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function writeDraft(path: string, content: string): Promise<string> {
  const draft = `${path}.${randomBytes(6).toString('hex')}.draft`
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.writeFile(content)
    await file.sync()
    return draft
  } catch (error) {
    return discard(draft, error)
  }
}

async function discard(draft: string, error: unknown): Promise<never> {
  await rm(draft, { force: true })
  throw error
}

/** The new name is on disk only when the folder is. Some file systems, and Windows, cannot be asked for that. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => undefined)
  await folder?.close()
}
