/**
 * A nats-server of its own for a test: real process, free port, a temporary store that goes with it. `connect` gives a
 * bus in a role with that role's permissions, closed together with the server.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Bus, connectBus } from '#infra/bus.ts'
import { type NatsServer, startNatsServer } from '#infra/embedded/nats-server.ts'
import { freePort } from '#infra/embedded/ports.ts'
import { createLogger } from '#infra/log.ts'
import type { BusRole } from '#infra/permissions.ts'

export interface TestNats extends AsyncDisposable {
  readonly server: NatsServer
  readonly storeDirectory: string
  connect(role: BusRole, instance?: string): Promise<Bus>
  /** Ends the server as a crash would and starts it again: same port, same store. */
  restart(): Promise<void>
  /** Ends the server and leaves the port free until `restart`. */
  kill(): Promise<void>
}

export const binary = { named: process.env.NATS_SERVER, path: process.env.PATH }

const quiet = createLogger('test', 'silent')

export async function startTestNats(): Promise<TestNats> {
  await using stack = new AsyncDisposableStack()
  const storeDirectory = await mkdtemp(join(tmpdir(), 'sallyport-nats-'))
  stack.defer(() => rm(storeDirectory, { recursive: true, force: true }))
  // Nobody else is given it while the server is away.
  const port = await freePort()
  let server = await startNatsServer({ storeDirectory, port, binary })
  stack.defer(() => server[Symbol.asyncDispose]())
  const buses = stack.use(new AsyncDisposableStack())
  const kill = async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (server.process.exitCode !== null || server.process.signalCode !== null) return
    server.process.once('exit', () => resolve())
    server.process.kill('SIGKILL')
    await promise
  }
  const owned = stack.move()
  return {
    get server() {
      return server
    },
    storeDirectory,
    connect: async (role, instance) =>
      buses.use(
        await connectBus({
          ...server.addressFor(role),
          role,
          log: quiet,
          ...(instance !== undefined && { instance }),
        }),
      ),
    kill,
    restart: async () => {
      await kill()
      server = await startNatsServer({ storeDirectory, port, binary })
    },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  }
}
