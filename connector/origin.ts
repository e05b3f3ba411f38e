/**
 * The HTTP client towards origins: connections kept alive for each destination. They are made in one place (dial.ts), which
 * judges addresses and certificates. Most exchanges need no client library (plain/); it does the others (origin-pool.ts).
 */

import type { IncomingMessage } from 'node:http'
import type { Duplex, Readable } from 'node:stream'
import { LRUCache } from 'lru-cache'
import type { Pool } from 'undici'
import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import type { RequestHead } from '#infra/request-head.ts'
import { type Destination, destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import { sendAlone } from './origin-alone.ts'
import type { OriginError } from './origin-error.ts'
import { keepAliveTimeoutMs, openPool, send, type Target } from './origin-pool.ts'
import { upgrade } from './origin-upgrade.ts'
import type { PlainConnections } from './plain/connections.ts'
import { PlainOrigins } from './plain/origins.ts'

/** An idle connection that a user has for themselves is kept this long, and so many users are kept in mind. */
const ownedKeepAliveTimeoutMs = 10_000
const maxOwners = 2_000

export interface OriginRequest {
  method: string
  target: string
  headers: string[]
  body: Buffer | Readable | null
  /** What follows a streaming body, once it has ended. */
  trailers?: () => readonly string[]
  /** The connection carries more than this request (raw-connection.ts). */
  raw?: RawRequest
  /** Whose request it is, for sign-on. */
  claims?: LeaseClaims
  /** Only requests of the same owner share a connection with it; left out, all of the application's do. */
  connectionOwner?: string
}

export interface RawRequest {
  /** The request as the gateway sent it: what else comes on the connection must be of its kind. */
  asked: RequestHead
  /** Makes what the origin gets of a further head. Throws for what must not be passed on. */
  translate: (head: RequestHead) => RequestHead
  /** The origin begins an answer. What comes with it says so as well, but only here is it told apart. */
  answered: (status: number) => void
}

/** Flow control and end of one response. */
export interface OriginControl {
  pause(): void
  resume(): void
  abort(): void
}

export interface OriginSink {
  /** There is a connection, and the request is on its way. */
  started(): void
  information(status: number, headers: string[]): void
  head(status: number, reason: string, headers: string[], control: OriginControl): void
  data(chunk: Buffer): void
  end(trailers: string[]): void
  failed(error: OriginError): void
}

export interface UpgradeSink {
  started(): void
  information(status: number, headers: string[]): void
  /** The origin switched protocols: from here on the socket carries its bytes. */
  upgraded(reason: string, headers: string[], socket: Duplex, first: Buffer): void
  /** The origin answered with an ordinary response. */
  declined(response: IncomingMessage): void
  failed(error: OriginError): void
}

export interface Origins extends AsyncDisposable {
  /** Sends a request; the returned function aborts it at any time. */
  send(application: Application, request: OriginRequest, sink: OriginSink): () => void
  /** Sends a request with an Upgrade header on a connection of its own. */
  upgrade(application: Application, request: OriginRequest, sink: UpgradeSink): () => void
}

export function createOrigins(maxConnections: number, dialer: Dialer): Origins {
  const pools = new Map<string, Pool>()
  const plain = new PlainOrigins(dialer, maxConnections)
  /** Found once for each state of an application. */
  const known = new WeakMap<Application, SharedTarget>()
  const targetFor = (application: Application): SharedTarget => {
    let target = known.get(application)
    if (!target) {
      const destination = destinationOf(application)
      const pool = poolOf(destination)
      target = { ...targetOf(application, dialer, pool), plain: plain.to(destination) }
      known.set(application, target)
    }
    return target
  }
  const poolOf = (destination: Destination): Pool => {
    const { key } = destination
    let pool = pools.get(key)
    if (!pool) {
      pool = open(destination, keepAliveTimeoutMs)
      pools.set(key, pool)
    }
    return pool
  }
  const open = (destination: Destination, keepAliveTimeout: number) =>
    openPool(destination, { dialer, connections: maxConnections, keepAliveTimeout })
  const owned = new OwnedTargets(destination => open(destination, ownedKeepAliveTimeoutMs))
  return {
    send(application, request, sink) {
      const { connectionOwner: owner } = request
      const target: SharedTarget =
        owner === undefined ? targetFor(application) : owned.targetFor(owner, application, dialer)
      if (target.isTalkative) return sendAlone(dialer, application, request, sink)
      return target.plain?.send(target, request, sink) ?? send(target, { request, sink })
    },
    upgrade: (application, request, sink) => upgrade(dialer, application, request, sink),
    async [Symbol.asyncDispose]() {
      plain[Symbol.dispose]()
      const all = [...pools.values(), ...owned.pools()]
      await Promise.all(all.map(pool => pool.destroy()))
    },
  }
}

interface SharedTarget extends Target {
  /** Left out where connections have owners. */
  readonly plain?: PlainConnections
}

function targetOf(application: Application, dialer: Dialer, pool: Pool): Target {
  const { host: servername } = destinationOf(application)
  return { application, dialer, pool, servername, isTalkative: false }
}

/** Connections that one user has for themselves: whoever is on it may be what the origin goes by. */
class OwnedTargets {
  readonly #open: (destination: Destination) => Pool
  /** Who is left out comes back with a new pool. */
  readonly #targets = new LRUCache<string, Target>({
    max: maxOwners,
    dispose: ({ pool }) => void pool.close().catch(() => undefined),
  })

  constructor(open: (destination: Destination) => Pool) {
    this.#open = open
  }

  targetFor(owner: string, application: Application, dialer: Dialer): Target {
    const destination = destinationOf(application)
    const key = `${owner}\n${destination.key}`
    let target = this.#targets.get(key)
    if (!target) {
      target = targetOf(application, dialer, this.#open(destination))
      this.#targets.set(key, target)
    }
    return target
  }

  pools(): Pool[] {
    return [...this.#targets.values()].map(({ pool }) => pool)
  }
}
