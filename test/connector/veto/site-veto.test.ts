/** The veto file while a connector runs: changes count at once, and what cannot be read refuses everything. */

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createLogger } from '#infra/log.ts'
import { VetoFile, type VetoQuestion } from '../../../connector/veto/rules.ts'
import { readVeto, watchVeto } from '../../../connector/veto/site-veto.ts'

const folder = await mkdtemp(join(tmpdir(), 'sallyport-veto-'))
afterAll(() => rm(folder, { recursive: true }))
const path = join(folder, 'veto.json')
const watch = () => watchVeto(path, createLogger('test', 'silent'))

const question: VetoQuestion = {
  method: 'GET',
  target: '/',
  headers: [],
  isUpgrade: false,
  claims: { app: 'wiki', user: null },
}
const write = (...rules: object[]) => writeFile(path, JSON.stringify({ rules }))
const closed = { name: 'closed', effect: 'deny' }

beforeEach(() => write())

describe('a file', () => {
  test('counts from the start, and its changes soon after', async () => {
    using veto = await watch()
    expect(veto.reasonAgainst(question)).toBeUndefined()
    const { turn } = veto
    await write(closed)
    await expect.poll(() => veto.reasonAgainst(question)).toBe('the site owner\'s rule "closed"')
    expect(veto.turn).not.toBe(turn)
    await write()
    await expect.poll(() => veto.reasonAgainst(question)).toBeUndefined()
  })

  test('that takes the place of another counts as well', async () => {
    using veto = await watch()
    await writeFile(`${path}.new`, JSON.stringify({ rules: [closed] }))
    await rename(`${path}.new`, path)
    await expect.poll(() => veto.reasonAgainst(question)).toContain('closed')
  })

  test.each<[string, () => Promise<unknown>]>([
    ['is damaged', () => writeFile(path, '{"rules": [')],
    ['is empty', () => writeFile(path, '')],
    ['has an unknown property', () => writeFile(path, '{"rules": [], "more": 1}')],
    ['is gone', () => rm(path)],
    ['is too large', () => writeFile(path, ' '.repeat(2 ** 20 + 1))],
  ])('that %s refuses everything and says so, until it is good again', async (_, spoil) => {
    using veto = await watch()
    const { turn } = veto
    await spoil()
    await expect.poll(() => veto.reasonAgainst(question)).toContain('everything')
    expect(veto.problem).toContain('cannot be used')
    expect(veto.turn).not.toBe(turn)
    await write()
    await expect.poll(() => veto.reasonAgainst(question)).toBeUndefined()
    expect(veto.problem).toBeUndefined()
  })

  test.each<[string, () => Promise<unknown>]>([
    ['is missing', () => rm(path)],
    ['is damaged', () => writeFile(path, 'x')],
  ])('that %s at the start refuses everything from the first request on', async (_, spoil) => {
    await spoil()
    using veto = await watch()
    expect(veto.reasonAgainst(question)).toContain('everything')
    expect(veto.problem).toBeDefined()
  })

  test('with hours has open connections looked at with every minute', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-01-15T20:59:30Z') })
    try {
      const hours = { timeZone: 'Europe/Paris', from: '22:00', to: '23:00' }
      await write({ ...closed, hours })
      using veto = await watch()
      const { turn } = veto
      expect(veto.reasonAgainst(question)).toBeUndefined()
      vi.setSystemTime(Date.parse('2026-01-15T21:00:00Z'))
      expect(veto.turn).not.toBe(turn)
      expect(veto.reasonAgainst(question)).toContain('closed')
    } finally {
      vi.useRealTimers()
    }
  })
})

test('what is wrong with a file is said with its place in it', async () => {
  await write({ ...closed, paths: ['admin'] })
  await expect(readVeto(path)).rejects.toThrow('rules[0].paths[0]')
  await writeFile(path, '{')
  await expect(readVeto(path)).rejects.toThrow('not JSON')
  await expect(readVeto(join(folder, 'none.json'))).rejects.toThrow('ENOENT')
})

describe('before a connector gets it, a file', () => {
  const root = join(import.meta.dirname, '../../..')
  const check = () =>
    promisify(execFile)(process.execPath, ['sallyport.ts', 'veto', 'check', path], { cwd: root })

  test('that is good is said to be', async () => {
    await write(closed)
    expect((await check()).stdout).toContain('can be used: 1 rule')
  })

  test('that is not is told what is wrong, with status 1', async () => {
    await write({ ...closed, user: [] })
    await expect(check()).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has "user", which is not known here'),
    })
  })

  test('may look like the example of the README', async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8')
    const [, example = ''] = /```json\n(\{\s*"rules"[\s\S]*?)```/.exec(readme) ?? []
    expect(VetoFile.parse(JSON.parse(example)).rules.length).toBeGreaterThan(1)
  })
})
