/**
 * A real nats-server as a child process, for `sallyport up` and for tests. It runs in a process group of its own, so
 * that a Ctrl-C reaches the services before their bus, and still ends with this process whatever happens to it. Its
 * data, configuration and passwords stay in `storeDirectory`; one server at a time may use it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../log.ts'
import type { BusRole } from '../permissions.ts'
import { endWithParent } from './end-with-parent.ts'
import { findNatsServer, type NatsBinarySearch } from './nats-binary.ts'
import { keepPasswords, writeNatsConfig } from './nats-config.ts'

export interface NatsServerOptions {
  storeDirectory: string
  /** A free one unless given. */
  port?: number
  /** Random and kept in the store unless given. */
  passwords?: Partial<Record<BusRole, string>>
  /** Where to look for the program; npm's copy is found without. */
  binary?: NatsBinarySearch
  /** Warnings and errors of the server. */
  log?: Logger
  signal?: AbortSignal
}

export interface NatsServer extends AsyncDisposable {
  /** Without user and password. */
  readonly url: string
  readonly port: number
  readonly process: ChildProcess
  /** With the role's user and password. */
  urlFor(role: BusRole): string
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
  const { storeDirectory: directory, port: wantedPort = 0, signal } = options
  const binary = await findNatsServer(options.binary ?? {})
  const passwords = await keepPasswords(directory, options.passwords)
  const config = await writeNatsConfig({ directory, port: wantedPort, passwords })
  signal?.throwIfAborted()
  const child = spawn(binary, ['--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
    env: { GOMAXPROCS: `${threads}` },
  })
  try {
    const [port] = await Promise.all([listeningPort(child, options), endWithParent(child)])
    return {
      url: `nats://127.0.0.1:${port}`,
      port,
      process: child,
      urlFor: role => `nats://${role}:${encodeURIComponent(passwords[role])}@127.0.0.1:${port}`,
      [Symbol.asyncDispose]: () => end(child),
    }
  } catch (error) {
    await end(child)
    throw error
  }
}

/** The server's log is its only sign of life: the port, then "ready", or the reason why it ended. */
async function listeningPort(child: ChildProcess, options: NatsServerOptions): Promise<number> {
  const { signal } = options
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  let port = 0
  let complaint = 'it gave no reason'
  const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream })
  lines.on('line', line => {
    const address = /Listening for client connections on .*:(\d+)$/.exec(line)
    if (address) port = Number(address[1])
    if (line.endsWith('Server is ready')) resolve(port)
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
