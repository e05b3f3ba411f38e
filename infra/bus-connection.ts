/**
 * How the bus is dialled. Services use TCP: `tls://SEED@host:4222` in general, `nats://` without TLS on one machine;
 * the seed of their role's key is all that is secret in it. Connectors use secure WebSockets (`wss://host`), with a
 * client certificate that is read anew at each dial and is their only credential, through a proxy if there is one.
 * A connection comes back by itself, without end. The client library knows one kind of transport per process: whoever
 * mixes both in one process gets connections that never come back.
 */

import { readFileSync } from 'node:fs'
import https from 'node:https'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import {
  type ConnectionOptions,
  connect,
  type NatsConnection,
  type TlsOptions,
  wsconnect,
} from '@nats-io/transport-node'
import WebSocket from 'ws'
import { ConfigurationError } from './config.ts'
import { dialProblem } from './dial-problem.ts'
import { isUserSeed, signerOf } from './nkey.ts'

/** PEM, as a connector has stored them: its key, its certificate with chain, and the root that the bus must have. */
export interface ClientIdentity {
  readonly key: string
  readonly certificate: string
  readonly authority: string
}

/** As the environment names them: `http://user:password@proxy:8080`, and hosts that are reached without. */
export interface ProxySettings {
  readonly HTTPS_PROXY?: string | undefined
  readonly NO_PROXY?: string | undefined
}

export interface BusAddress {
  /** Several separated by commas, all of one kind. */
  url: string
  /** Root certificate (PEM file) that a `tls://` bus must have; those of the system unless given. */
  caPath?: string | undefined
  /** For `wss://`: called at each dial. */
  identity?: (() => ClientIdentity | Promise<ClientIdentity>) | undefined
  /** For `wss://`. */
  proxy?: ProxySettings | undefined
}

/** Of a service, as its configuration says it. */
export function busAddress(config: { busUrl: string; busCaPath?: string | undefined }): BusAddress {
  return { url: config.busUrl, caPath: config.busCaPath }
}

export interface DialOptions extends BusAddress {
  name: string
  inboxPrefix: string
  /** Is told why a dial of a connection that was lost has failed, as far as that is known. */
  onFailure?: (reason: string) => void
}

/** A node that hangs keeps its connections: it is given up after two to three of these. */
const pingMs = 2_000
const dialTimeoutMs = 5_000
/** Through a proxy, and together with all the connectors that lost the bus at the same moment. */
const webDialTimeoutMs = 10_000

/**
 * The wait before a dial, at least and at most. Services are few and everything waits for them: connectors that come
 * before a registry is back are refused after seconds. Connectors are many.
 */
const shortestWaitMs = { tcp: 20, web: 100 }
const longestWaitMs = { tcp: 80, web: 30_000 }
/** Longest wait before the first dial of those that are many. */
const firstSpreadMs = 500

/**
 * Dials once. The connection that it returns comes back by itself.
 * @throws Error whose message names the cause; ConfigurationError for a key or a root that no dial could use.
 */
export async function dial(options: DialOptions): Promise<NatsConnection> {
  const servers = hostsOf(options.url)
  const isWeb = servers[0]?.protocol === 'wss:'
  const waits = new Waits(options.url)
  const common: ConnectionOptions = {
    name: options.name,
    inboxPrefix: options.inboxPrefix,
    maxReconnectAttempts: -1,
    ignoreAuthErrorAbort: true,
    pingInterval: pingMs,
    maxPingOut: 2,
    noEcho: true,
    // The library's own wait counts from the last dial, so that everybody would come at once after a long connection.
    reconnectDelayHandler: () => 0,
    reconnectToServer: ([next]) => next && { server: next, delay: waits.next() },
  } as ConnectionOptions
  const connection = await (isWeb
    ? dialWeb(options, common, waits)
    : dialTcp(options, common, servers))
  waits.begin()
  void endWaits(connection, waits)
  return connection
}

/**
 * Whether the bus lets this connection hear the subject. With the key of another role nothing would ever work, nor would
 * anything say why.
 */
export async function mayHear(connection: NatsConnection, subject: string): Promise<boolean> {
  let isRefused = false
  const subscription = connection.subscribe(subject, {
    callback: error => {
      isRefused ||= error !== null
    },
  })
  // What the server refuses it says before it answers this.
  await connection.flush()
  subscription.unsubscribe()
  return !isRefused
}

/** Host and port of every server, for messages: without the seed. */
export function addressesOf(url: string): string {
  return hostsOf(url)
    .map(({ host }) => host)
    .join(', ')
}

function hostsOf(url: string): URL[] {
  return url.split(',').map(one => new URL(one.trim()))
}

async function dialTcp(
  { caPath }: DialOptions,
  common: ConnectionOptions,
  servers: readonly URL[],
): Promise<NatsConnection> {
  const [first] = servers
  const connection = await connect({
    ...common,
    ...credentialsOf(first),
    servers: servers.map(({ host }) => host),
    ...(first?.protocol === 'tls:' && { tls: tlsOptions(servers, caPath) }),
    timeout: dialTimeoutMs,
  }).catch(error => {
    throw dialProblem(error)
  })
  void endCutDials(connection)
  return connection
}

/** All servers are nodes of one bus, so that each may have the name of any; by itself the library takes no address. */
function tlsOptions(servers: readonly URL[], caPath: string | undefined): TlsOptions {
  const names = servers.map(({ hostname }) => hostname.replace(/^\[|\]$/g, ''))
  const check = (host: string, certificate: PeerCertificate) => {
    const problems = names.map(name => checkServerIdentity(name, certificate))
    return problems.includes(undefined)
      ? undefined
      : (problems[0] ?? checkServerIdentity(host, certificate))
  }
  if (caPath !== undefined) checkRoot(caPath)
  const options = { ...(caPath !== undefined && { caFile: caPath }), checkServerIdentity: check }
  return options
}

/** The library would not say which variable names the file, and dial in vain without end. */
function checkRoot(path: string): void {
  const refuse = (reason: string): never => {
    throw new ConfigurationError(`SALLYPORT_BUS_CA_PATH: ${path} ${reason}`)
  }
  try {
    if (/-BEGIN CERTIFICATE-/.test(readFileSync(path, 'utf8'))) return
  } catch (error) {
    refuse(`cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  refuse('holds no certificate (PEM)')
}

function credentialsOf(url: URL | undefined): Partial<ConnectionOptions> {
  if (!url?.username) return {}
  const user = decodeURIComponent(url.username)
  if (url.password || !isUserSeed(user)) return { user, pass: decodeURIComponent(url.password) }
  const { publicKey, sign } = signerOfSeed(user)
  return {
    authenticator: nonce => ({
      nkey: publicKey,
      sig: sign(Buffer.from(nonce ?? '')).toString('base64url'),
    }),
  }
}

function signerOfSeed(seed: string): ReturnType<typeof signerOf> {
  try {
    return signerOf(seed)
  } catch (error) {
    throw new ConfigurationError(`SALLYPORT_BUS_URL: its user is ${(error as Error).message}`)
  }
}

async function dialWeb(
  { url, identity, proxy, onFailure }: DialOptions,
  common: ConnectionOptions,
  waits: Waits,
): Promise<NatsConnection> {
  let failure: unknown
  let isFirst = true
  const agent = new https.Agent({ keepAlive: false, proxyEnv: { ...proxy } })
  const failed = (error: unknown) => {
    failure = error
    if (!isFirst) onFailure?.(dialProblem(error).message)
  }
  const connection = await wsconnect({
    ...common,
    servers: url.split(',').map(one => one.trim()),
    ignoreClusterUpdates: true,
    timeout: webDialTimeoutMs,
    wsFactory: async target => {
      try {
        const socket = await openSocket(target, agent, identity)
        // Also what comes after the library has given up the socket: nobody else would take it.
        socket.on('error', failed)
        socket.once('open', () => waits.reached())
        tellOfEarlyEnd(socket, failed)
        return { socket: socket as never, encrypted: true }
      } catch (error) {
        failed(error)
        return { socket: brokenSocket(error) as never, encrypted: true }
      }
    },
  }).catch(error => {
    throw dialProblem(failure ?? error)
  })
  isFirst = false
  return connection
}

/**
 * The library does not notice that a connection has ended which the server had greeted and not let in yet, and waits for
 * the time-out of the dial. It listens to what a server says when it refuses somebody.
 */
function tellOfEarlyEnd(socket: WebSocket, failed: (error: Error) => void): void {
  // What fails before it has begun is told by itself.
  let isSettled = true
  socket.once('open', () => {
    isSettled = false
  })
  const look = (data: WebSocket.RawData) => {
    isSettled = /PONG\r\n|-ERR /.test(Buffer.from(data as ArrayBuffer).toString('latin1'))
    if (isSettled) socket.off('message', look)
  }
  socket.on('message', look)
  // Before the library's own, which then listens to nothing more.
  socket.once('close', () => {
    if (isSettled) return
    failed(new Error('the connection has ended before we were let in'))
    const data = Buffer.from("-ERR 'Authorization Violation: the connection has ended'\r\n")
    socket.onmessage?.({ data, type: 'message', target: socket })
  })
}

/** One that fails as soon as it is used: without any the library would wait for its end, and never dial again. */
function brokenSocket(error: unknown) {
  const socket = {
    bufferedAmount: 0,
    onerror: undefined as ((event: { message: string }) => void) | undefined,
    close: () => undefined,
  }
  setImmediate(() => socket.onerror?.({ message: String(error) }))
  return socket
}

async function openSocket(
  target: string,
  agent: https.Agent,
  identity: BusAddress['identity'],
): Promise<WebSocket> {
  const own = await identity?.()
  return new WebSocket(target, {
    agent,
    ...(own && { key: own.key, cert: own.certificate, ca: own.authority }),
    perMessageDeflate: false,
    handshakeTimeout: webDialTimeoutMs,
  })
}

/** The waits of a connection that was lost. */
export class Waits {
  readonly #url: string
  #dialsInVain = 0
  /** `performance.now()` of the first one. */
  #lostAt = 0
  #isBegun = false
  #isReached = false

  constructor(url: string) {
    this.#url = url
  }

  /** From now on there is something to come back to: the dials before it are counted by whoever makes them. */
  begin(): void {
    this.#isBegun = true
  }

  /** The bus is there again, though it has not let us in: the dials before that say nothing of those to come. */
  reached(): void {
    if (this.#isReached) return
    this.#isReached = true
    this.#dialsInVain = 0
  }

  reset(): void {
    this.#isReached = false
    this.#dialsInVain = 0
  }

  next(): number {
    if (!this.#isBegun) return 0
    if (this.#dialsInVain === 0) this.#lostAt = performance.now()
    return waitMsBefore(this.#url, this.#dialsInVain++, performance.now() - this.#lostAt)
  }
}

/**
 * The wait before the next dial when so many were made in vain: full jitter, of any length up to a limit that doubles
 * each time, so that all who lost the bus at one moment do not come back at one moment. Nobody waits for longer than the
 * bus has been away: a short outage ends soon for everybody.
 */
export function waitMsBefore(
  url: string,
  dialsInVain: number,
  awayMs = Number.POSITIVE_INFINITY,
): number {
  const kind = url.trim().startsWith('wss:') ? 'web' : 'tcp'
  const doubledMs = firstSpreadMs * 2 ** Math.min(dialsInVain, 16)
  const limitMs = Math.min(doubledMs, Math.max(awayMs, firstSpreadMs), longestWaitMs[kind])
  return shortestWaitMs[kind] + Math.random() * (limitMs - shortestWaitMs[kind])
}

async function endWaits(connection: NatsConnection, waits: Waits): Promise<void> {
  for await (const { type } of connection.status()) if (type === 'reconnect') waits.reset()
}

/** What the library keeps of a dial, and does not show. */
interface Dialling {
  readonly protocol?: {
    readonly transport?: { readonly isClosed: boolean }
    readonly connectError?: ((error: Error) => void) | undefined
  }
}

/**
 * A connection that ends when the server has greeted it and not let it in yet is told as lost once more, but its dial goes
 * on until its time-out: that is ended here.
 */
async function endCutDials(connection: NatsConnection): Promise<void> {
  const { protocol } = connection as Dialling
  for await (const { type } of connection.status()) {
    // By now the next dial may have begun.
    if (type === 'disconnect' && protocol?.transport?.isClosed)
      protocol.connectError?.(new Error('the connection has ended before we were let in'))
  }
}
