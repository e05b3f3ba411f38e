/**
 * Uploaded files, in memory and bounded: the oldest goes when there are too many or they are too large together.
 * Each is known by its SHA-256, so that a transfer can be compared from end to end.
 */

import { createHash } from 'node:crypto'

export interface StoredFile {
  name: string
  type: string
  bytes: Buffer
  sha256: string
  storedAt: Date
}

export const maxFileBytes = 32 * 1_024 * 1_024
const maxTotalBytes = 96 * 1_024 * 1_024
const maxFiles = 50

export interface FileShelf {
  list(): StoredFile[]
  find(name: string): StoredFile | undefined
  put(file: { name: string; type: string; bytes: Buffer }): StoredFile
}

export function openShelf(): FileShelf {
  const files = new Map<string, StoredFile>()
  const shelf: FileShelf = {
    list: () => [...files.values()].reverse(),
    find: name => files.get(name),
    put({ name, type, bytes }) {
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const file = { name: safeName(name), type, bytes, sha256, storedAt: new Date() }
      files.delete(file.name)
      files.set(file.name, file)
      makeRoom(files)
      return file
    },
  }
  shelf.put({ name: 'travel-claim.csv', type: 'text/csv', bytes: Buffer.from(claimForm) })
  return shelf
}

const claimForm = 'date,from,to,purpose,amount\n2026-03-02,Fernhill,Bergen,Calibration,84.50\n'

function makeRoom(files: Map<string, StoredFile>): void {
  let total = [...files.values()].reduce((sum, file) => sum + file.bytes.length, 0)
  for (const [name, file] of files) {
    if (files.size <= maxFiles && total <= maxTotalBytes) return
    files.delete(name)
    total -= file.bytes.length
  }
}

/** A file name that can stand in a path and in a header, whatever was sent. */
function safeName(name: string): string {
  const last = name.split(/[\\/]/).at(-1) ?? ''
  const safe = last
    .normalize('NFC')
    .replace(/[^\p{L}\p{N}._ -]/gu, '_')
    .replace(/^\.+/, '_')
  return safe.slice(0, 120) || 'unnamed'
}

/** The first file of a multipart form, if there is one. The platform's own parser reads it. */
export async function fileInForm(
  body: Buffer,
  contentType: string,
): Promise<{ name: string; type: string; bytes: Buffer } | undefined> {
  const form = await formData(body, contentType)
  const file = [...(form?.values() ?? [])].find(value => value instanceof File)
  if (!file || file.name === '') return undefined
  return { name: file.name, type: file.type, bytes: Buffer.from(await file.arrayBuffer()) }
}

async function formData(body: Buffer, contentType: string): Promise<FormData | undefined> {
  try {
    return await new Response(new Uint8Array(body), {
      headers: { 'content-type': contentType },
    }).formData()
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}
