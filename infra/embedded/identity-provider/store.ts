/**
 * What the provider remembers: sessions, grants, codes, tokens. In memory and bounded: the entry that was unused the
 * longest goes first. At an orderly end sessions, grants and refresh tokens are written down, so that a restart asks
 * nobody to sign in again; a damaged or missing file only means that everybody has to.
 */

import { join } from 'node:path'
import { LRUCache } from 'lru-cache'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { readIfThere, replaceFile } from '../../files.ts'

const capacity = 10_000
const outliveRestart = ['Session:', 'Grant:', 'RefreshToken:', 'alias:']

type Entry = AdapterPayload | { id: string }
type Entries = LRUCache<string, Entry>

export interface ProviderStore extends AsyncDisposable {
  adapter(model: string): Adapter
}

export async function openStore(directory: string): Promise<ProviderStore> {
  const path = join(directory, 'sessions.json')
  const entries: Entries = new LRUCache({ max: capacity })
  restore(entries, await readIfThere(path))
  return {
    adapter: model => adapterOf(model, entries),
    async [Symbol.asyncDispose]() {
      const kept = entries.dump().filter(([key]) => outliveRestart.some(it => key.startsWith(it)))
      await replaceFile(path, JSON.stringify(kept))
    },
  }
}

function restore(entries: Entries, text: string | undefined): void {
  if (text === undefined) return
  try {
    entries.load(JSON.parse(text))
    entries.purgeStale()
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
    entries.clear()
  }
}

function adapterOf(model: string, entries: Entries): Adapter {
  const keyOf = (id: string) => `${model}:${id}`
  const find = async (id: string) => entries.get(keyOf(id)) as AdapterPayload | undefined
  const findByAlias = async (alias: string) => {
    const entry = entries.get(`alias:${model}:${alias}`) as { id: string } | undefined
    return entry && find(entry.id)
  }
  return {
    find,
    findByUid: findByAlias,
    findByUserCode: findByAlias,
    async upsert(id, payload, expiresIn) {
      const lifetime = expiresIn ? { ttl: expiresIn * 1_000 } : {}
      entries.set(keyOf(id), payload, lifetime)
      for (const alias of [payload.uid, payload.userCode])
        if (alias) entries.set(`alias:${model}:${alias}`, { id }, lifetime)
    },
    async consume(id) {
      const payload = await find(id)
      if (payload) payload.consumed = Math.floor(Date.now() / 1_000)
    },
    async destroy(id) {
      entries.delete(keyOf(id))
    },
    /** Rare and bounded: a walk over everything costs less than an index that has to be kept true. */
    async revokeByGrantId(grantId) {
      for (const [key, entry] of [...entries.entries()])
        if (key.startsWith(keyOf('')) && 'grantId' in entry && entry.grantId === grantId)
          entries.delete(key)
    },
  }
}
