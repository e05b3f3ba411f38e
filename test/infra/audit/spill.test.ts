/** The spill file when the file system fails, or somebody else has been at it. */

import { mkdtemp, rename, rm, symlink, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { Spill } from '#infra/audit/spill.ts'
import { createLogger } from '#infra/log.ts'

let path: string
let lost: number

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-spill-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  path = join(folder, 'spill')
  lost = 0
})

const open = () =>
  new Spill(path, {
    maxBytes: 2 ** 20,
    log: createLogger('test', 'silent'),
    onLoss: events => {
      lost += events
    },
  })

const event = (id: string) =>
  JSON.stringify({ id, category: 'access', application: 'wiki', outcome: 'granted' })

const idsOf = (spill: Spill, room = 10) => spill.take(room).map(({ id }) => id)

test('events that cannot be read for a while are read later', async () => {
  const spill = open()
  for (const id of ['a', 'b', 'c']) spill.append(event(id))
  expect(idsOf(spill, 1)).toEqual(['a'])
  await rename(path, `${path}.away`)
  await symlink(path, path)
  expect(idsOf(spill)).toEqual([])
  await rm(path)
  await rename(`${path}.away`, path)
  expect(idsOf(spill)).toEqual(['b', 'c'])
  expect(lost).toBe(0)
})

test.each([
  ['is removed', () => rm(path)],
  ['is emptied', () => truncate(path)],
])('a file that %s is a loss, and nothing that comes waits for it', async (_how, spoil) => {
  const spill = open()
  for (const id of ['a', 'b']) spill.append(event(id))
  spill.flush()
  await spoil()
  expect(idsOf(spill)).toEqual([])
  expect(spill.isAhead).toBe(false)
  expect(lost).toBeGreaterThan(0)
  spill.append(event('c'))
  expect(idsOf(spill)).toEqual(['c'])
})

test('what is written after a file was removed is read', async () => {
  const spill = open()
  spill.append(event('a'))
  expect(idsOf(spill)).toEqual(['a'])
  await rm(path)
  spill.append(event('b'))
  expect(idsOf(spill)).toEqual(['b'])
})
