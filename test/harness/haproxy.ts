/** haproxy in front of a gateway and the bus: one port, told apart by the name that TLS asks for, nothing decrypted. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'

export interface SniPort extends AsyncDisposable {
  readonly port: number
}

export interface SniPlaces {
  /** Goes to the bus. */
  busName: string
  busPort: number
  /** Everything else. */
  gatewayPort: number
}

export async function startSniPort({ busName, busPort, gatewayPort }: SniPlaces): Promise<SniPort> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-haproxy-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const port = await freePort()
  const file = join(folder, 'haproxy.cfg')
  await writeFile(
    file,
    [
      'defaults',
      '  mode tcp',
      '  timeout connect 5s',
      '  timeout client 1h',
      '  timeout server 1h',
      'frontend all',
      `  bind 127.0.0.1:${port}`,
      '  tcp-request inspect-delay 5s',
      '  tcp-request content accept if { req.ssl_hello_type 1 }',
      `  use_backend bus if { req.ssl_sni -i ${busName} }`,
      '  default_backend gateway',
      'backend bus',
      `  server bus 127.0.0.1:${busPort}`,
      'backend gateway',
      `  server gateway 127.0.0.1:${gatewayPort}`,
      '',
    ].join('\n'),
  )
  const server = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
  stack.defer(() => end(server))
  await vi.waitFor(() => answers(port), { timeout: 10_000, interval: 20 })
  const owned = stack.move()
  return { port, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function answers(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  await ended
}
