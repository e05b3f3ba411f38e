/** Import rules: services meet on the bus, never in the code. */

import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** Folder → folders it may import from. The root command may start every service. */
const allowed: Record<string, readonly string[]> = {
  gateway: ['gateway', 'infra'],
  connector: ['connector', 'infra'],
  policy: ['policy', 'infra'],
  registry: ['registry', 'infra'],
  infra: ['infra'],
  '.': ['gateway', 'connector', 'policy', 'registry', 'infra'],
}

const importPattern = /\b(?:from|import)\s*\(?\s*'([^']+)'/g

function importsOf(file: string): { target: string; specifier: string }[] {
  const source = readFileSync(join(root, file), 'utf8')
  return [...source.matchAll(importPattern)].flatMap(([, specifier = '']) => {
    if (specifier.startsWith('#'))
      return [{ specifier, target: specifier.slice(1).split('/')[0] ?? '' }]
    if (!specifier.startsWith('.')) return []
    const path = normalize(join(dirname(file), specifier))
    return [{ specifier, target: path.includes('/') ? (path.split('/')[0] ?? '') : '.' }]
  })
}

function forbiddenIn(file: string): string[] {
  const folder = file.includes('/') ? (file.split('/')[0] ?? '') : '.'
  const mayImport = allowed[folder] ?? []
  return importsOf(file)
    .filter(({ target }) => !mayImport.includes(target))
    .map(({ specifier }) => `${file} imports ${specifier}`)
}

const files = globSync('{gateway,connector,policy,registry,infra}/**/*.ts', { cwd: root })

test('each service imports only itself and infra, and infra nothing of ours', () => {
  expect(files.length).toBeGreaterThan(50)
  expect([...files, 'sallyport.ts'].flatMap(forbiddenIn)).toEqual([])
})

test('a planted import across services would be found', () => {
  expect(importPattern.test("export { x } from '../policy/evaluate.ts'")).toBe(true)
  importPattern.lastIndex = 0
  expect(importPattern.test("await import('../policy/evaluate.ts')")).toBe(true)
})

test('another folder is reached by its name, never by climbing out of the own one', () => {
  const climbing = files.flatMap(file =>
    importsOf(file)
      .filter(({ specifier, target }) => specifier.startsWith('.') && target !== file.split('/')[0])
      .map(({ specifier }) => `${file} imports ${specifier}`),
  )
  expect(climbing).toEqual([])
})

test('only the rim reads the environment of the process', () => {
  const readers = files.filter(file => /process\.env/.test(readFileSync(join(root, file), 'utf8')))
  expect(readers.filter(file => !file.endsWith('/main.ts'))).toEqual([])
})
