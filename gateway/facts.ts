/** What policy decides on besides the user: where a request comes from and with what. Remembered per client. */

import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { RequestFacts } from '#infra/contracts/principal.ts'
import { ownCopy } from '#infra/own-copy.ts'
import type { Incoming } from './incoming.ts'

export interface Client {
  readonly facts: RequestFacts
  /** Stands for the facts in leases: the same fingerprint needs no new decision. */
  readonly fingerprint: string
}

/** Clients remembered per gateway process. */
const maxClients = 20_000

/** So much of a user agent counts, and is remembered, in characters. */
const longestUserAgent = 512

const clients = new LRUCache<string, Client>({ max: maxClients })

export function clientOf(incoming: Pick<Incoming, 'clientAddress' | 'userAgent'>): Client {
  const { clientAddress } = incoming
  const userAgent = incoming.userAgent.slice(0, longestUserAgent)
  const key = `${clientAddress} ${userAgent}`
  let client = clients.get(key)
  if (!client) {
    const facts: RequestFacts = {
      clientAddress,
      clientAppType: clientAppType(userAgent),
      devicePlatform: devicePlatform(userAgent),
      userAgent: ownCopy(userAgent),
    }
    const fingerprint = hash('sha256', JSON.stringify(facts), 'base64url').slice(0, 22)
    client = { facts, fingerprint }
    clients.set(key, client)
  }
  return client
}

function clientAppType(userAgent: string): RequestFacts['clientAppType'] {
  if (/^Mozilla\/|^Opera\//.test(userAgent)) return 'browser'
  return userAgent === '' ? 'other' : 'mobileAppsAndDesktopClients'
}

const platforms: readonly (readonly [RegExp, RequestFacts['devicePlatform']])[] = [
  [/Windows Phone/, 'windowsPhone'],
  [/Android/, 'android'],
  [/iPhone|iPad|iPod/, 'iOS'],
  [/Windows/, 'windows'],
  [/Macintosh|Mac OS X/, 'macOS'],
  [/Linux|X11|CrOS/, 'linux'],
]

function devicePlatform(userAgent: string): RequestFacts['devicePlatform'] {
  return platforms.find(([pattern]) => pattern.test(userAgent))?.[1] ?? 'unknown'
}
