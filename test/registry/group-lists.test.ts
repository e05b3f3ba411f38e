/** What connectors are told of their group's applications, whatever they missed and whatever changes while they read. */

import { describe, expect, test } from 'vitest'
import {
  type Application,
  type ApplicationChanges,
  type ApplicationsReply,
  type ApplicationsRequest,
  groupIdsOf,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import { PersistentMap } from '#infra/persistent-map.ts'
import type { Change } from '#infra/snapshot.ts'
import { readList } from '../../connector/application-list.ts'
import { GroupLists } from '../../registry/group-lists.ts'
import { application } from '../harness/application.ts'

const group = 'paris'
const maxBytes = 10_000

/** A bucket, the lists that follow it, and a connector of the group that hears some of what is pushed. */
class Model {
  entries = new PersistentMap<RegisteredApplication>()
  readonly #revisions = new Map<string, number>()
  revision = 0
  readonly lists: GroupLists

  constructor(maxRemembered = 1_000) {
    this.lists = new GroupLists({ store: this, maxBytes, maxRemembered })
  }

  get(id: string) {
    const [value, revision] = [this.entries.get(id), this.#revisions.get(id)]
    return value && revision !== undefined ? { value, revision } : undefined
  }

  /** One swap of the snapshot; undefined deletes. */
  write(values: Readonly<Record<string, RegisteredApplication | undefined>>) {
    const changes: Change<RegisteredApplication>[] = []
    for (const [key, after] of Object.entries(values)) {
      changes.push({ key, before: this.entries.get(key), after })
      this.#revisions.set(key, ++this.revision)
    }
    this.entries = this.entries.with(Object.entries(values))
    return this.lists.apply(changes).get(group)
  }

  ask({ since, after }: ApplicationsRequest): ApplicationsReply {
    const changes = since === undefined ? undefined : this.lists.changes(group, since)
    return changes ?? this.lists.page(group, after)
  }

  /** The group's applications by name, as they are. */
  get members(): Readonly<Record<string, string>> {
    const members = [...this.entries.values()].filter(app => groupIdsOf(app).includes(group))
    return namesOf(members)
  }
}

const namesOf = (applications: Iterable<RegisteredApplication>) =>
  Object.fromEntries([...applications].map(({ id, displayName }) => [id, displayName]))

let made = 0
const member = (id: string, connectorGroupId = group, standby: string | null = null): Application =>
  application(id, `https://${id}.test/`, {
    connectorGroupId,
    standbyConnectorGroupId: standby,
    displayName: `name ${++made}`,
  })

const many = (count: number, connectorGroupId?: string) =>
  Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`app-${i}`, member(`app-${i}`, connectorGroupId)]),
  )

const first = (model: Model) => {
  const page = model.ask({})
  if (page.kind !== 'page') throw new Error('no page was given')
  return page
}

/** Random, the same at every run. */
function dice(seed: number): (sides: number) => number {
  let state = seed
  return sides => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * sides)
  }
}

function writeSomething(model: Model, roll: (sides: number) => number) {
  const values: Record<string, RegisteredApplication | undefined> = {}
  for (let count = 1 + roll(4); count > 0; count--) {
    const id = `app-${roll(80)}`
    const outcome = roll(5)
    if (outcome === 4) values[id] = member(id, 'lyon', group)
    else if (outcome > 0) values[id] = member(id, outcome === 3 ? 'lyon' : group)
    else if (model.entries.has(id)) values[id] = undefined
  }
  return model.write(values)
}

describe('the list of a group', () => {
  test('is read whole in pages that have a limit', async () => {
    const model = new Model()
    model.write(many(200))
    expect(JSON.stringify(first(model)).length).toBeLessThan(maxBytes + 200)
    const list = await readList(
      async request => model.ask(request),
      first(model),
      () => 0,
    )
    expect(namesOf(list.applications.values())).toEqual(model.members)
  })

  test('is of one version, however much changes while it is read', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const roll = dice(seed)
      const model = new Model(seed % 2 === 0 ? 1_000 : 20)
      model.write(many(60))
      let changesLeft = 40
      const versions = new Map([[model.revision, model.members]])
      const list = await readList(
        async request => {
          if (changesLeft-- > 0) writeSomething(model, roll)
          versions.set(model.revision, model.members)
          return model.ask(request)
        },
        first(model),
        () => 0,
      )
      expect(namesOf(list.applications.values())).toEqual(versions.get(list.version))
    }
  })

  test('that cannot be read to its end is none', async () => {
    const model = new Model()
    model.write(many(200))
    let asked = 0
    const reading = readList(
      async request => {
        if (++asked === 5) throw new Error('registry has gone')
        return model.ask(request)
      },
      first(model),
      () => 0,
    )
    await expect(reading).rejects.toThrow('registry has gone')
  })

  test('holds an application that is larger than a page', () => {
    const model = new Model()
    const large = application('large', 'https://large.test/', {
      connectorGroupId: group,
      internalUrl: `http://large.test/${'p'.repeat(2 * maxBytes)}/`,
    })
    model.write({ ...many(3), large })
    const page = model.lists.page(group, 'app-2')
    expect(page.applications.map(({ id }) => id)).toEqual(['large'])
    expect(page.isLast).toBe(true)
  })
})

describe('a connector', () => {
  /** As connector/directory.ts takes what it is told; undefined when it has to ask. */
  const take = (known: Known, told: ApplicationChanges): Known | undefined => {
    if (told.version <= known.version) return known
    if (told.since > known.version) return undefined
    const names = { ...known.names, ...namesOf(told.changed) }
    for (const id of told.removed) delete names[id]
    return { version: told.version, names }
  }
  interface Known {
    version: number
    names: Record<string, string>
  }

  test('that missed any of what was pushed has the whole list as soon as it asks', () => {
    for (let seed = 0; seed < 20; seed++) {
      const roll = dice(seed)
      const model = new Model()
      let known: Known = { version: 0, names: {} }
      for (let step = 0; step < 200; step++) {
        const told = writeSomething(model, roll)
        if (!told || roll(3) === 0) continue
        known = take(known, told) ?? asked(model, known)
        expect(known.names).toEqual(model.members)
      }
    }
  })

  const asked = (model: Model, known: Known): Known => {
    let now = known
    for (;;) {
      const reply = model.ask({ since: now.version })
      if (reply.kind === 'page') throw new Error('it is not remembered any more')
      if (reply.changed.length + reply.removed.length === 0) return now
      now = take(now, reply) ?? now
    }
  }

  test('that missed more than a message holds is told it in several', () => {
    const model = new Model()
    for (const [id, each] of Object.entries(many(200))) model.write({ [id]: each })
    const told = model.ask({ since: 0 })
    expect(told).toMatchObject({ kind: 'changes', since: 0 })
    expect(told.version).toBeLessThan(model.revision)
    expect(asked(model, { version: 0, names: {} }).names).toEqual(model.members)
  })

  test('is not pushed what is too much for a message: it is told to ask', () => {
    const model = new Model()
    const { revision } = model
    const told = model.write(many(200))
    expect(told).toMatchObject({ changed: [], removed: [], version: model.revision })
    expect(told?.since).toBeGreaterThan(revision)
    expect(model.write({ last: member('last') })).toMatchObject({ since: model.revision - 1 })
  })

  test('reads the list anew when it missed more than is remembered', () => {
    const model = new Model(20)
    for (let count = 0; count < 50; count++) model.write({ one: member('one') })
    expect(model.ask({ since: 1 })).toMatchObject({ kind: 'page' })
    expect(model.ask({ since: model.revision - 5 })).toMatchObject({ kind: 'changes' })
  })
})
