/** No two workers write one file, and what any of them left is sent by somebody. */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { spillFileOf } from '../../gateway/spill-file.ts'

async function folderWith(files: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-spill-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
  return folder
}

test('each worker has a file of its own, and the whole service the one that is configured', () => {
  const files = [1, 2, 3].map(slot => spillFileOf('/nowhere/audit.jsonl', { slot, count: 3 }))
  expect(files).toEqual(['', '.2', '.3'].map(end => `/nowhere/audit.jsonl${end}`))
  expect(spillFileOf('/nowhere/audit.jsonl')).toBe('/nowhere/audit.jsonl')
})

test('with fewer workers than before, the first one takes over what the others left, and nothing else', async () => {
  const folder = await folderWith({
    'audit.jsonl': 'one\n',
    'audit.jsonl.2': 'two\n',
    'audit.jsonl.3': 'three\n',
    'audit.jsonl.12': 'twelve\n',
    'audit.jsonl.old': 'kept by somebody\n',
    'other.jsonl.3': 'of another gateway\n',
  })
  const path = spillFileOf(join(folder, 'audit.jsonl'), { slot: 1, count: 2 })
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  expect(lines[0]).toBe('one')
  expect(lines.toSorted()).toEqual(['one', 'three', 'twelve'])
  expect((await readdir(folder)).toSorted()).toEqual(
    ['audit.jsonl', 'audit.jsonl.2', 'audit.jsonl.old', 'other.jsonl.3'].toSorted(),
  )
})

test('a worker that is not the first takes nothing over', async () => {
  const folder = await folderWith({ 'audit.jsonl.3': 'three\n' })
  spillFileOf(join(folder, 'audit.jsonl'), { slot: 2, count: 2 })
  expect(await readdir(folder)).toEqual(['audit.jsonl.3'])
})
