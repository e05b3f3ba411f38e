/** Configuration: every problem at once, secrets from files, and no variable taken for another. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { ConfigurationError, Port, readConfig, WorkerCount } from '#infra/config.ts'

const schema = z
  .object({
    SALLYPORT_TEST_PORT: Port.default(1),
    SALLYPORT_TEST_SECRET: z.string(),
  })
  .refine(env => env.SALLYPORT_TEST_SECRET !== 'guess', {
    path: ['SALLYPORT_TEST_SECRET'],
    error: 'can be guessed',
  })
  .transform(env => ({ port: env.SALLYPORT_TEST_PORT, secret: env.SALLYPORT_TEST_SECRET }))

async function file(content: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'value'), content)
  return join(folder, 'value')
}

function refusal(environment: Record<string, string>): string {
  try {
    readConfig(schema, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigurationError)
    return (error as Error).message
  }
  throw new Error('was not refused')
}

describe('configuration', () => {
  it('reads a secret from a file, without its last line break', async () => {
    const path = await file('from a file\n')
    expect(readConfig(schema, { SALLYPORT_TEST_SECRET_FILE: path }).secret).toBe('from a file')
  })

  it('counts an empty variable as not set', () => {
    const environment = { SALLYPORT_TEST_SECRET: 's', SALLYPORT_TEST_PORT: '' }
    expect(readConfig(schema, environment).port).toBe(1)
  })

  it('cannot be changed afterwards', () => {
    const config = readConfig(schema, { SALLYPORT_TEST_SECRET: 's' })
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('is refused with all problems at once, each with name and fix', async () => {
    const message = refusal({ SALLYPORT_TEST_PORT: 'high' })
    expect(message).toContain('SALLYPORT_TEST_PORT: must be a port number from 0 to 65535')
    expect(message).toContain('SALLYPORT_TEST_SECRET: is required')
    expect(message).toContain('SALLYPORT_TEST_SECRET_FILE')
  })

  it('is refused when a file is not there, or a value is given twice', async () => {
    expect(refusal({ SALLYPORT_TEST_SECRET_FILE: '/not/there' })).toContain('ENOENT')
    const both = { SALLYPORT_TEST_SECRET: 's', SALLYPORT_TEST_SECRET_FILE: await file('t') }
    expect(refusal(both)).toContain('SALLYPORT_TEST_SECRET is set too; keep one of them')
  })

  it('does not repeat a secret in its refusal', () => {
    const message = refusal({ SALLYPORT_TEST_SECRET: 'guess', SALLYPORT_TEST_PORT: 'x' })
    expect(message).not.toMatch(/: guess/)
  })
})

describe('a value that a schema has no words of its own for', () => {
  const anything = z.strictObject({
    name: z.string().min(1).max(3),
    list: z.array(z.string()).min(1),
    count: z.int().min(1).max(9),
    isOn: z.boolean(),
    level: z.enum(['low', 'high']),
    at: z.iso.datetime(),
    one: z.union([z.literal(1), z.literal(true)]),
  })
  const right = { name: 'a', list: ['a'], count: 1, isOn: true, level: 'low', one: true }
  const at = '2026-01-31T08:00:00Z'

  it.each([
    [{ name: '' }, 'must not be empty'],
    [{ name: 'long' }, 'must have at most 3 characters'],
    [{ name: undefined }, 'is required'],
    [{ name: 7 }, 'must be text'],
    [{ list: [] }, 'must not be empty'],
    [{ count: 0 }, 'must be at least 1'],
    [{ count: 10 }, 'must be at most 9'],
    [{ count: 1.5 }, 'must be a whole number'],
    [{ isOn: 'yes' }, 'must be true or false'],
    [{ level: 'x' }, 'must be one of "low", "high"'],
    [{ at: 'now' }, 'must be a date and time, as in 2026-01-31T08:00:00Z'],
    [{ one: 'x' }, 'is none of the values that are possible here'],
    [{ more: 1 }, 'has "more", which is not known here'],
  ])('is refused in plain words: %j', (part, words) => {
    const { error } = anything.safeParse({ ...right, at, ...part })
    expect(error?.issues.map(({ message }) => message)).toEqual([words])
  })
})

describe('a number of workers', () => {
  it('is a whole number, or one for each core', () => {
    expect(WorkerCount.parse('3')).toBe(3)
    expect(WorkerCount.parse('auto')).toBe(availableParallelism())
  })

  it.each(['0', '257', '1.5', '-1', 'all', ''])('is not %j', value => {
    expect(WorkerCount.safeParse(value).error?.message).toContain('from 1 to 256, or auto')
  })
})
