/** The keys of the bus's roles, as they are kept in a folder. */

import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { keepRoleKeys } from '#infra/role-keys.ts'

let folder: string
let file: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-keys-'))
  file = join(folder, 'role-keys.json')
  onTestFinished(() => rm(folder, { recursive: true }))
})

test('keys stay as they are, readable by their owner alone', async () => {
  const keys = await keepRoleKeys(folder)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const before = await stat(file, { bigint: true })
  expect(await keepRoleKeys(folder)).toEqual(keys)
  expect(await stat(file, { bigint: true })).toMatchObject({
    ino: before.ino,
    mtimeNs: before.mtimeNs,
  })
})

test('keys that are missing come beside the others, in a new file in place of the old one', async () => {
  const keys = await keepRoleKeys(folder)
  const { gateway: _, ...others } = keys
  await writeFile(file, JSON.stringify(others))
  const { ino } = await stat(file)
  const completed = await keepRoleKeys(folder)
  expect(completed).toMatchObject(others)
  expect(completed.gateway).not.toBe(keys.gateway)
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(completed)
  // Whoever is killed within the write leaves the old one: without it every service would lose the bus.
  expect((await stat(file)).ino).not.toBe(ino)
})

test('a file that cannot be understood is named, and left alone', async () => {
  await writeFile(file, '{')
  await expect(keepRoleKeys(folder)).rejects.toThrow(file)
  expect(await readFile(file, 'utf8')).toBe('{')
})
