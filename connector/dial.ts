/**
 * The one place that connects to origins, whatever is spoken then: it hands out a connection only when its address is
 * one that may be dialled and its certificate is what the application asks for. A name is resolved once, what it resolves
 * to is judged, and what was judged is dialled; so a name that changes its answer in between gains nothing. Users never
 * hear why a connection was not made; operators find the reason in the audit event and in the connector's status.
 */

import { createHash } from 'node:crypto'
import dns from 'node:dns'
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { LRUCache } from 'lru-cache'
import { addressKind, reasonAgainstHost } from '#infra/origin-address.ts'
import { type Destination, placeOf } from './destination.ts'
import { asOriginError, connectTimeoutDetail, OriginError } from './origin-error.ts'
import { identityProblem } from './origin-identity.ts'

export interface DialOptions {
  /** For TLS: what is offered by ALPN. */
  protocols: readonly string[]
  /** Whether one side may go on when the other has said all. */
  allowHalfOpen?: boolean
  /** Of a name with several addresses, connections with the same word try the same one first, whichever connector dials. */
  affinity?: string | undefined
}

/** One of both is called, once, never at once. */
export interface DialSink {
  connected(socket: Socket): void
  failed(error: OriginError): void
}

export interface Dialer {
  /** The returned function gives up, without a call to the sink; afterwards it does nothing. */
  dial(destination: Destination, options: DialOptions, sink: DialSink): () => void
  /** Whether a TCP connection can be made, to an address that may be dialled. */
  probe(origin: string, timeoutMs: number): Promise<boolean>
  /** Grows when a problem has come up, changed or ended. */
  readonly problemsTurn: number
  /** Why the last connection of this kind was refused, as long as none has been made since. */
  problemOf(destination: Destination): string | undefined
}

export interface DialerOptions {
  /** Loopback addresses are this host's own programs: the site owner may keep them out of reach. */
  refusesLoopback: boolean
}

/** How long a connection may be silent before TCP itself asks whether the other side is still there. */
const tcpKeepAliveMs = 30_000

/** Destinations whose problem is remembered, and how long it is of one that nobody asks for any more. */
const maxProblems = 1_000
const problemMs = 600_000

export function createDialer({ refusesLoopback }: DialerOptions): Dialer {
  const problems = new LRUCache<string, string>({ max: maxProblems, ttl: problemMs })
  let problemsTurn = 0
  const reasonAgainst = (address: string) => reasonAgainstAddress(address, refusesLoopback)
  const lookup = guardedLookup(reasonAgainst)
  return {
    dial(destination, options, sink) {
      const noting: DialSink = {
        connected(socket) {
          if (problems.delete(destination.key)) problemsTurn++
          sink.connected(socket)
        },
        failed(error) {
          const problem = lastingProblem(error)
          if (problem !== undefined) {
            if (problems.get(destination.key) !== problem) problemsTurn++
            problems.set(destination.key, problem)
          }
          sink.failed(error)
        },
      }
      const attempt = new Attempt(destination, { ...options, lookup, reasonAgainst }, noting)
      return () => attempt.giveUp()
    },
    probe: (origin, timeoutMs) => {
      const plain = { key: origin, connectTimeoutMs: timeoutMs, tls: undefined }
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const options = { protocols: [], lookup, reasonAgainst }
      new Attempt({ ...placeOf(origin), ...plain }, options, {
        connected(socket) {
          socket.destroy()
          resolve(true)
        },
        failed: () => resolve(false),
      })
      return promise
    },
    get problemsTurn() {
      return problemsTurn
    },
    problemOf: ({ key }) => problems.get(key),
  }
}

/** What lasts until somebody does something about it, unlike an origin that is merely not there. */
function lastingProblem({ code, message }: OriginError): string | undefined {
  const isLasting = code === 'origin_address_refused' || code.startsWith('origin_tls_')
  return isLasting ? `${code}: ${message}` : undefined
}

interface Guarded extends DialOptions {
  lookup: LookupFunction
  reasonAgainst: (address: string) => string | undefined
}

/** One connection on its way. */
class Attempt {
  readonly #sink: DialSink
  readonly #late: NodeJS.Timeout
  #socket: Socket | undefined
  #isOver = false

  constructor(destination: Destination, options: Guarded, sink: DialSink) {
    this.#sink = sink
    const { connectTimeoutMs } = destination
    const late = new OriginError(
      'origin_unreachable',
      connectTimeoutDetail(connectTimeoutMs),
      false,
    )
    this.#late = setTimeout(() => this.#fail(late), connectTimeoutMs)
    const reason = reasonAgainstDestination(destination, options)
    if (reason === undefined) this.#open(destination, options)
    else setImmediate(() => this.#fail(refused(reason)))
  }

  giveUp(): void {
    if (this.#over()) this.#socket?.destroy()
  }

  #open(destination: Destination, options: Guarded): void {
    const { tls } = destination
    const onError = (error: Error) => this.#fail(error)
    if (!tls) {
      const socket = openTcp(destination, options)
      socket.on('error', onError).once('connect', () => this.#connected(socket, onError))
      this.#socket = socket
      return
    }
    const socket = openTls({ ...destination, tls }, options)
    socket.on('error', onError).once('secureConnect', () => {
      const problem = identityProblem(socket, tls)
      if (problem) this.#fail(problem)
      else this.#connected(socket, onError)
    })
    this.#socket = socket
  }

  #connected(socket: Socket, onError: (error: Error) => void): void {
    if (!this.#over()) return
    // Nothing may be said for hours: what has vanished without a word is found, and no firewall forgets the connection.
    socket.off('error', onError).setKeepAlive(true, tcpKeepAliveMs)
    this.#sink.connected(socket)
  }

  #fail(error: Error): void {
    if (!this.#over()) return
    this.#socket?.destroy()
    const { code, message } = asOriginError(error)
    // Nothing was sent yet, whatever broke the connection.
    this.#sink.failed(new OriginError(code, message, false, { cause: error }))
  }

  /** True once. */
  #over(): boolean {
    if (this.#isOver) return false
    this.#isOver = true
    clearTimeout(this.#late)
    return true
  }
}

function openTcp(
  { host, port }: Destination,
  { lookup, affinity, allowHalfOpen = false }: Guarded,
): Socket {
  return connectTcp({
    host,
    port,
    lookup: inOrderOf(affinity, lookup),
    allowHalfOpen,
    noDelay: true,
  })
}

function openTls(
  { host, port, tls }: Destination & { tls: NonNullable<Destination['tls']> },
  { lookup, affinity, protocols, allowHalfOpen = false }: Guarded,
): TLSSocket {
  const { serverName, context: secureContext } = tls
  const socket = connectTls({
    host,
    port,
    lookup: inOrderOf(affinity, lookup),
    secureContext,
    // Chain, name and pins are judged together when the connection is there, before anybody can use it
    // (origin-identity.ts): the library would say neither what it saw nor what it expected.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(allowHalfOpen && { allowHalfOpen }),
    ...(protocols.length > 0 && { ALPNProtocols: [...protocols] }),
    ...(isIP(serverName) === 0 && { servername: serverName }),
  })
  socket.setNoDelay(true)
  return socket
}

/** What is no name is never looked up. */
function reasonAgainstDestination(
  { host }: Destination,
  { reasonAgainst }: Guarded,
): string | undefined {
  return reasonAgainstHost(host) ?? (isIP(host) === 0 ? undefined : reasonAgainst(host))
}

function reasonAgainstAddress(address: string, refusesLoopback: boolean): string | undefined {
  const kind = addressKind(address)
  if (kind === undefined || (kind === 'loopback' && !refusesLoopback)) return undefined
  return `${address} is one of the addresses that are not dialled (${kind})`
}

/** Gives only addresses that may be dialled; an error when a name has no others. */
function guardedLookup(reasonAgainst: Guarded['reasonAgainst']): LookupFunction {
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0)
      const allowed = addresses.filter(({ address }) => reasonAgainst(address) === undefined)
      const [first] = allowed
      if (first) {
        if (options.all) callback(null, allowed)
        else callback(null, first.address, first.family)
        return
      }
      const reasons = addresses.map(({ address }) => reasonAgainst(address))
      callback(refused(`${hostname} resolves to nothing else: ${reasons.join('; ')}`), '', 0)
    })
  }
}

/** Rendezvous hashing: whoever knows the same addresses comes to the same order, and one that is gone changes no other. */
function inOrderOf(affinity: string | undefined, lookup: LookupFunction): LookupFunction {
  if (affinity === undefined) return lookup
  const rank = ({ address }: dns.LookupAddress) =>
    createHash('sha256').update(`${affinity}\n${address}`).digest('hex')
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      if (error || !Array.isArray(found)) return callback(error, found)
      const ranked = found.map(one => ({ one, rank: rank(one) }))
      ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1))
      const ordered = ranked.map(({ one }) => one)
      const [first] = ordered
      if (options.all) callback(null, ordered)
      else callback(null, first?.address ?? '', first?.family)
    })
  }
}

function refused(detail: string): OriginError {
  return new OriginError('origin_address_refused', detail, false)
}
