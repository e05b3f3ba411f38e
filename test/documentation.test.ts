/** What the documents say is what the code does. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import type { ZodType } from 'zod'
import { OnPremisesPublishing } from '#infra/contracts/application.ts'
import { AuditEvent } from '#infra/contracts/audit.ts'
import { serviceVariables } from '#infra/embedded/service-help.ts'
import { FAULTS } from '#infra/errors.ts'
import { GatewayConfig } from '../gateway/config.ts'
import { addClientCommands } from '../registry/cli/commands.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const readme = read('README.md')
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'DECISIONS.md',
  'SECURITY.md',
  'CHANGELOG.md',
  ...globSync('docs/*.md', { cwd: root }),
]

test('the fault table of the README is the fault table of the code', () => {
  const rows = [...readme.matchAll(/^\| `(\w+)` \| (\d{3}) \| (.+) \|$/gm)]
  const documented = Object.fromEntries(
    rows.map(([, code, status, title]) => [code, `${status} ${title}`]),
  )
  const actual = Object.entries(FAULTS).map(([code, { status, title }]) => [
    code,
    `${status} ${title}`,
  ])
  expect(documented).toEqual(Object.fromEntries(actual))
})

test('every fault can happen: none is only a row of the table', () => {
  const sources = globSync('{gateway,connector,policy,registry,infra}/**/*.ts', { cwd: root })
    .filter(file => file !== 'infra/errors.ts')
    .map(read)
    .join('\n')
  const unused = Object.keys(FAULTS).filter(code => !sources.includes(`'${code}'`))
  expect(unused).toEqual([])
})

test('every variable that a document names is one that a service or the command line reads', () => {
  const known = new Set([
    ...Object.values(serviceVariables).flatMap(Object.keys),
    'SALLYPORT_ADMIN_URL',
    'SALLYPORT_ADMIN_TOKEN',
    'SALLYPORT_BUS_URL',
    'SALLYPORT_CONNECTOR_TOKEN',
  ])
  const named = documents.flatMap(path => read(path).match(/SALLYPORT_[A-Z_]*[A-Z]/g) ?? [])
  expect(named.filter(name => !known.has(name))).toEqual([])
})

test('the time-outs of the README are those that an application and a gateway have', () => {
  const table = readme.slice(readme.indexOf('## How long'), readme.indexOf('## When something'))
  const settings = [...table.matchAll(/`(\w+InSeconds)`, `(--[a-z-]+)`/g)]
  const known = Object.keys(OnPremisesPublishing.shape).filter(name => name.endsWith('InSeconds'))
  expect(settings.map(([, name]) => name).toSorted()).toEqual(known.toSorted())
  const program = new Command()
  addClientCommands(program, {})
  const publish = program.commands.find(command => command.name() === 'publish')
  const options = publish?.options.map(({ long }) => long) ?? []
  const documented = [...settings.map(([, , option]) => option), '--timeout']
  expect(options.filter(option => option?.endsWith('timeout')).toSorted()).toEqual(
    documented.toSorted(),
  )
  const rows = [...table.matchAll(/\| (\d+) s \| `(SALLYPORT_\w+)`/g)]
  expect(rows.length).toBe(3)
  for (const [, seconds, name = ''] of rows) {
    const schema = (GatewayConfig.in.shape as Record<string, ZodType>)[name]
    expect(schema?.parse(undefined), name).toBe(Number(seconds))
  }
})

test('the audit contract names every category, outcome and field of the schemas', () => {
  const contract = read('docs/audit.md')
  const names = AuditEvent.options.flatMap(({ shape }) => [
    shape.category.value,
    ...shape.outcome.options,
    ...Object.keys(shape),
  ])
  const unsaid = new Set(names.filter(name => !contract.includes(`\`${name}\``)))
  expect([...unsaid]).toEqual([])
})

describe('commands of the documents', () => {
  const program = new Command()
  addClientCommands(program, {})
  const services = ['up', 'veto', ...Object.keys(serviceVariables)]
  const commands = [
    ...readme.matchAll(/npm run -s sallyport -- (\w[\w-]*)(.*)$/gm),
    ...documents.flatMap(path => [...read(path).matchAll(/^ {4}sallyport (\w[\w-]*)(.*)$/gm)]),
  ]

  test.each(commands.map(([, name = '', rest = '']) => [name, rest]))(
    '%s exists%s',
    (name, rest) => {
      const command = program.commands.find(candidate => candidate.name() === name)
      if (services.includes(name)) return
      expect(command, name).toBeDefined()
      const flags = rest.match(/--[a-z][a-z0-9-]*/g) ?? []
      const known = command?.options.map(option => option.long) ?? []
      expect(flags.filter(flag => !known.includes(flag))).toEqual([])
    },
  )

  test('every npm script that a document names exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = documents.flatMap(path => [...read(path).matchAll(/`?npm run (?:-s )?([\w:]+)/g)])
    expect(named.map(([, name = '']) => name).filter(name => !(name in scripts))).toEqual([])
  })
})

test('files and folders that a document names are there', () => {
  const named = documents.flatMap(path =>
    [
      ...read(path).matchAll(
        /`((?:gateway|connector|policy|registry|infra|test|\.ci)\/[\w./-]*)`/g,
      ),
    ].map(([, place = '']) => place),
  )
  const missing = named.filter(
    place => globSync(place.replace(/\/$/, ''), { cwd: root }).length === 0,
  )
  expect([...new Set(missing)]).toEqual([])
})

test('no document or source names a machine of its authors', () => {
  const files = globSync('**/*.{ts,md,json,yaml,conf,sh,css}', {
    cwd: root,
    exclude: path => /node_modules|package-lock/.test(String(path)),
  })
  const suspicious = new RegExp(['/wor' + 'k/', '/ro' + 'ot/', 'registry\\.npm' + 'js'].join('|'))
  expect(files.filter(file => suspicious.test(read(file)))).toEqual([])
})
