/**
 * A real nats-server as a child process, for `sallyport up` and for tests. It runs in a process group of its own, so
 * that a Ctrl-C reaches the services before their bus, and still ends with this process whatever happens to it. Its
 * data, configuration and keys stay in `storeDirectory`; one server at a time may use it. With an authority it speaks
 * TLS and has a second listener, for connectors with certificates.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BusAddress } from '../bus-connection.ts'
import type { Logger } from '../log.ts'
import type { BusRole } from '../permissions.ts'
import { busUrlOf, keepRoleKeys, type RoleKeys } from '../role-keys.ts'
import { takeTurns } from '../scheduling.ts'
import { endWithParent } from './end-with-parent.ts'
import { findNatsServer, type NatsBinarySearch } from './nats-binary.ts'
import { writeNatsConfig } from './nats-config.ts'

export interface NatsServerOptions {
  storeDirectory: string
  /** A free one unless given. */
  port?: number
  /** Random and kept in the store unless given. */
  keys?: Partial<RoleKeys>
  /** Folder of the authority; without one there is no TLS, and one user for all connectors. */
  authority?: string
  /** Where connectors come in; a free one unless given. */
  webPort?: number
  /** Where to look for the program; npm's copy is found without. */
  binary?: NatsBinarySearch
  /** Warnings and errors of the server. */
  log?: Logger
  signal?: AbortSignal
}

export interface NatsServer extends AsyncDisposable {
  /** Without a secret. */
  readonly url: string
  readonly port: number
  readonly process: ChildProcess
  /** Where connectors come in by certificate: port and URL; undefined without an authority. */
  readonly web: { readonly port: number; readonly url: string } | undefined
  /** The root that a client has to know; undefined without an authority. */
  readonly caPath: string | undefined
  /** With the role's secret. */
  urlFor(role: BusRole): string
  /** The same with what else it takes to connect. */
  addressFor(role: BusRole): BusAddress
}

/**
 * It shares the machine with every service of the system. On two cores a second thread of it only costs: a quarter more
 * CPU for each exchange, for waking and being woken.
 */
const threads = Math.max(1, Math.floor(availableParallelism() / 2))

/** Reading back a large store takes a while. */
const readyWithinMs = 30_000
const endsWithinMs = 5_000

/** Starts the server and resolves once it takes connections. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { storeDirectory: directory, authority, signal } = options
  const binary = await findNatsServer(options.binary ?? {})
  const keys = await keepRoleKeys(directory, options.keys)
  const { port = 0, webPort = 0 } = options
  const config = await writeNatsConfig({ directory, port, webPort, keys, authority })
  signal?.throwIfAborted()
  const child = spawn(binary, ['--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { GOMAXPROCS: `${threads}` },
  })
  try {
    const [ports] = await Promise.all([listeningPorts(child, options), endWithParent(child)])
    if (child.pid !== undefined) await takeTurns(child.pid)
    return running(child, { ...ports, keys, authority })
  } catch (error) {
    await end(child)
    throw error
  }
}

interface Ports {
  port: number
  webPort: number | undefined
}

function running(
  child: ChildProcess,
  { port, webPort, keys, authority }: Ports & { keys: RoleKeys; authority: string | undefined },
): NatsServer {
  const url = `${authority === undefined ? 'nats' : 'tls'}://127.0.0.1:${port}`
  const caPath = authority === undefined ? undefined : join(authority, 'root.pem')
  const urlFor = (role: BusRole) => busUrlOf(role, keys, url)
  return {
    url,
    port,
    process: child,
    web: webPort === undefined ? undefined : { port: webPort, url: `wss://127.0.0.1:${webPort}` },
    caPath,
    urlFor,
    addressFor: role => ({ url: urlFor(role), caPath }),
    [Symbol.asyncDispose]: () => end(child),
  }
}

/** The server's log is its only sign of life: the ports, then "ready", or the reason why it ended. */
async function listeningPorts(child: ChildProcess, options: NatsServerOptions): Promise<Ports> {
  const { signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<Ports>()
  const ports: Ports = { port: 0, webPort: undefined }
  let complaint = 'it gave no reason'
  const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream })
  lines.on('line', line => {
    const address = /Listening for (client connections|websocket clients) on .*:(\d+)$/.exec(line)
    if (address)
      ports[address[1] === 'client connections' ? 'port' : 'webPort'] = Number(address[2])
    if (line.endsWith('Server is ready')) resolve(ports)
    if (/\[(FTL|ERR)\]|^nats-server: /.test(line)) complaint = withoutPrefix(line)
    report(line, options.log)
  })
  child.once('error', reject)
  child.once('close', code => {
    reject(new Error(`nats-server ended with code ${code} before it was ready: ${complaint}`))
  })
  const onAbort = () => reject(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const late = setTimeout(() => {
    reject(new Error(`nats-server was not ready within ${readyWithinMs / 1000} s`))
  }, readyWithinMs)
  return await promise.finally(() => {
    clearTimeout(late)
    signal?.removeEventListener('abort', onAbort)
  })
}

function report(line: string, log: Logger | undefined): void {
  const level = /\[(WRN|ERR|FTL)\]/.exec(line)?.[1]
  // They are random, and stand in a file that only its owner may read.
  if (!level || !log || line.includes('Plaintext passwords detected')) return
  const write = level === 'WRN' ? log.warn : log.error
  write.call(log, `nats-server: ${withoutPrefix(line)}`)
}

function withoutPrefix(line: string): string {
  return line.replace(/^\[\d+\] \S+ \S+ \[\w+\] |^nats-server: /, '')
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const inTime = await Promise.race([
    exited.then(() => true),
    sleep(endsWithinMs, false, { ref: false }),
  ])
  if (inTime) return
  child.kill('SIGKILL')
  await exited
}
