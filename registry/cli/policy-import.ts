/**
 * `policy import`: policies and named locations out of an export. Nothing is written while anything is wrong, references
 * to named locations included; of applications that are not here it only warns, as exports of Entra are full of them.
 */

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import {
  everywhere,
  NamedLocationInput,
} from '#infra/contracts/conditional-access/named-location.ts'
import { PolicyInput } from '#infra/contracts/conditional-access/policy.ts'
import { isPolicy, resourcesIn } from '#infra/contracts/conditional-access/resource-file.ts'
import { type DepthProblem, depthProblemOf } from '#infra/json.ts'
import { NamedLocationView } from '../admin-api/policy-views.ts'
import { ApplicationView } from '../admin-api/views.ts'
import { problemsOf } from '../refusal.ts'
import type { AdminClient } from './client.ts'
import type { ClientCommand } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { print, printable, printJson, tell } from './text.ts'

/** Below the admin API's own path. */
export const conditionalAccess = '/identity/conditionalAccess'

interface ImportOptions {
  dryRun?: true
}

export function addImport(add: ClientCommand): void {
  add<[string], ImportOptions>(
    'import <file>',
    'create or replace policies and named locations out of an export of Microsoft Graph',
    {
      setUp: command => command.option('--dry-run', 'say what is wrong, and change nothing'),
      run: async ({ client, args: [file], options }) => {
        const resources = readAll(file)
        refuseProblems(await unknownLocations(client, resources))
        await warnOfUnknownApplications(client, resources)
        if (options.dryRun) {
          const names = resources.map(({ kind, name }) => ({ kind, name }))
          return tell(options, names, `${resources.length} can be imported`)
        }
        const all: object[] = []
        for (const { kind, name, ...resource } of resources) {
          const done = await put(client, resource)
          all.push({ kind, name, done })
          if (!options.json) print(`${done} ${kind} ${printable(name)}\n`)
        }
        if (options.json) printJson(all)
      },
    },
  )
}

interface Resource {
  readonly kind: 'policy' | 'named location'
  readonly path: string
  readonly body: object
  readonly id: string | undefined
  readonly name: string
  /** What a policy names. */
  readonly conditions?: z.output<typeof PolicyInput>['conditions']
}

/** Named locations first, as policies name them. */
function readAll(file: string): Resource[] {
  const problems: string[] = []
  const resources = resourcesIn(readJson(file)).flatMap((body): Resource[] => {
    const result = isPolicy(body) ? PolicyInput.safeParse(body) : NamedLocationInput.safeParse(body)
    if (result.success) return [resourceOf(body, result.data)]
    const name = String(Reflect.get(body, 'displayName') ?? 'a resource without a name')
    problems.push(problemText(name, problemsOf(result.error.issues)))
    return []
  })
  refuseProblems(problems)
  if (resources.length === 0)
    throw new CommandFailure(`${file} has no policy and no location in it`)
  return resources.toSorted((one, other) => one.path.localeCompare(other.path))
}

function resourceOf(
  body: object,
  read: z.output<typeof PolicyInput> | z.output<typeof NamedLocationInput>,
): Resource {
  const { id, displayName: name } = read
  if (!('conditions' in read))
    return { kind: 'named location', path: `${conditionalAccess}/namedLocations`, body, id, name }
  const { conditions } = read
  return { kind: 'policy', path: `${conditionalAccess}/policies`, body, id, name, conditions }
}

/** As the registry would refuse it, but of all policies, and before any is written. */
async function unknownLocations(
  client: AdminClient,
  resources: readonly Resource[],
): Promise<string[]> {
  const named = resources.filter(({ conditions }) => conditions?.locations)
  if (named.length === 0) return []
  const present = await client.list(`${conditionalAccess}/namedLocations`, NamedLocationView)
  const coming = resources.filter(({ kind }) => kind === 'named location')
  const known = new Set([...present, ...coming].map(({ id }) => id))
  return named.flatMap(({ name, conditions }) => {
    const problems = Object.entries(conditions?.locations ?? {}).flatMap(([property, ids]) =>
      ids
        .filter(id => !known.has(id) && !everywhere.has(id.toLowerCase()))
        .map(id => ({
          property: `conditions.locations.${property}`,
          message: `there is no named location "${id}", neither here nor in the file`,
        })),
    )
    return problems.length > 0 ? [problemText(name, problems)] : []
  })
}

/** What policies call others than single applications of ours; those of Microsoft are none of ours. */
const wordsForMany = ['all', 'none', 'office365', 'microsoftadminportals']

/** A name that is misspelt would leave its application without the policy, and nobody would notice. */
async function warnOfUnknownApplications(
  client: AdminClient,
  resources: readonly Resource[],
): Promise<void> {
  const applications = await client.list('/applications', ApplicationView)
  const ids = applications.flatMap(({ id, appId }) => [id, appId])
  const known = new Set([...wordsForMany, ...ids])
  for (const { name, conditions } of resources) {
    const { includeApplications = [], excludeApplications = [] } = conditions?.applications ?? {}
    const named = [...includeApplications, ...excludeApplications]
    const unknown = named.filter(id => !known.has(id.toLowerCase()))
    if (unknown.length === 0) continue
    const text = `warning: ${name} names applications that are not here: ${unknown.join(', ')}`
    process.stderr.write(`${printable(text)}\n`)
  }
}

function problemText(
  name: string,
  problems: readonly { property: string; message: string }[],
): string {
  const lines = problems.map(
    ({ property, message }) => `    ${printable(property)}: ${printable(message)}`,
  )
  return [`  ${printable(name)}`, ...lines].join('\n')
}

function refuseProblems(problems: readonly string[]): void {
  if (problems.length === 0) return
  throw new CommandFailure(`nothing is imported, some of it is refused:\n${problems.join('\n')}`)
}

async function put(
  client: AdminClient,
  { path, body, id }: Pick<Resource, 'path' | 'body' | 'id'>,
): Promise<string> {
  const answer = z.unknown()
  const at = id === undefined ? undefined : `${path}/${encodeURIComponent(id)}`
  const isThere = at !== undefined && (await client.find({ path: at, answer })) !== undefined
  if (isThere) await client.call({ method: 'PATCH', path: at, body, answer })
  else await client.call({ method: 'POST', path, body, answer })
  return isThere ? 'changed' : 'created'
}

function readJson(file: string): unknown {
  const content = parsed(file)
  const problem = depthProblemOf(content)
  if (problem) throw new UsageError(`${whereIn(file, problem)} ${problem.message}`)
  return content
}

function whereIn(file: string, { property }: DepthProblem): string {
  return property === '' ? file : `${file}: ${printable(property)}`
}

function parsed(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${(error as Error).message}`)
  }
}
