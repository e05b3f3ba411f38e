/**
 * Containers for tests: networks whose ports are on loopback only, links that can be cut, and what the engine can do to
 * a container while it runs. Two things to know: a link is an internal network, since joining or leaving another kind
 * may move a container's published ports; and names are explicit, since generated ones are not resolved inside.
 */

import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import {
  GenericContainer,
  getContainerRuntimeClient,
  type StartedTestContainer,
  Wait,
} from 'testcontainers'
import { inject } from 'vitest'
import type { Environment } from '#infra/config.ts'
import type { ServiceRole } from '#infra/embedded/service-process.ts'
import type { ContainerImages } from './images.ts'

/** Null where no container engine answers: then tests skip themselves. */
export const images = inject('images')

export function imagesOrFail(): ContainerImages {
  if (!images) throw new Error('no container engine answers')
  return images
}

async function engine() {
  return (await getContainerRuntimeClient()).container.dockerode
}

const uniqueName = (kind: string) => `sallyport-test-${kind}-${randomBytes(4).toString('hex')}`

/** A network of the test's own, removed on disposal. */
export class TestNetwork implements AsyncDisposable {
  readonly name: string

  private constructor(name: string) {
    this.name = name
  }

  /** Where tests reach published ports: on loopback, not on every interface as by default. */
  static outer(kind: string): Promise<TestNetwork> {
    const Options = { 'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1' }
    return TestNetwork.#create(kind, { Options })
  }

  /** Between containers alone; a container can be cut off it and join again. */
  static link(kind: string): Promise<TestNetwork> {
    return TestNetwork.#create(kind, { Internal: true })
  }

  static async #create(kind: string, options: object): Promise<TestNetwork> {
    const network = new TestNetwork(uniqueName(kind))
    const docker = await engine()
    await docker.createNetwork({ Name: network.name, Labels: imagesOrFail().labels, ...options })
    return network
  }

  async join(container: StartedTestContainer, alias: string): Promise<void> {
    const network = (await engine()).getNetwork(this.name)
    await network.connect({
      Container: container.getId(),
      EndpointConfig: { Aliases: [alias] },
    })
  }

  async cut(container: StartedTestContainer): Promise<void> {
    const network = (await engine()).getNetwork(this.name)
    await network.disconnect({ Container: container.getId(), Force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await engine()).getNetwork(this.name).remove()
  }
}

export interface ContainerOptions {
  image: string
  network: TestNetwork
  /** Part of its name, for people. */
  kind: string
  command?: string[]
  entrypoint?: string[]
  environment?: Environment
  /** Content by path inside. */
  files?: Record<string, string>
  /** Port inside → port on loopback; fixed, since the engine takes others at every restart. */
  ports?: Record<number, number>
  readyLine: RegExp
}

export interface TestContainer extends AsyncDisposable {
  readonly started: StartedTestContainer
  /** Resolvable for other containers of its network. */
  readonly name: string
  log(): string
  pause(): Promise<void>
  resume(): Promise<void>
  kill(): Promise<void>
  /** After `kill`. */
  startAgain(): Promise<void>
  /** Asks it to end, as `docker stop` does, and answers its exit code. */
  stop(): Promise<number>
  /** Output of a command that is run inside; an error when it fails. */
  run(...command: string[]): Promise<string>
}

const startsWithinMs = 30_000
/** A little more than a service gives itself (infra/lifecycle.ts). */
const endsWithinSeconds = 35

export async function startContainer(options: ContainerOptions): Promise<TestContainer> {
  const { image, network, command, entrypoint, environment = {}, files = {}, ports = {} } = options
  const lines: string[] = []
  const name = uniqueName(options.kind)
  const container = new GenericContainer(image)
    .withName(name)
    .withLabels(imagesOrFail().labels)
    .withNetworkMode(network.name)
    .withEnvironment(defined(environment))
    .withExposedPorts(
      ...Object.entries(ports).map(([inside, host]) => ({ container: Number(inside), host })),
    )
    .withCopyContentToContainer(
      Object.entries(files).map(([target, content]) => ({ content, target, mode: 0o444 })),
    )
    .withLogConsumer(stream => stream.on('data', (chunk: Buffer) => lines.push(chunk.toString())))
    // The default, waiting for ports, needs a shell in the image.
    .withWaitStrategy(Wait.forLogMessage(options.readyLine))
    .withStartupTimeout(startsWithinMs)
  if (command) container.withCommand(command)
  if (entrypoint) container.withEntrypoint(entrypoint)
  const started = await container.start().catch(error => {
    throw new Error(`${name} did not start; its log:\n${lines.join('')}`, { cause: error })
  })
  const raw = (await engine()).getContainer(started.getId())
  return {
    started,
    name,
    log: () => lines.join(''),
    pause: () => raw.pause(),
    resume: () => raw.unpause(),
    kill: () => raw.kill({ signal: 'SIGKILL' }),
    startAgain: () => raw.start(),
    stop: async () => {
      await raw.stop({ t: endsWithinSeconds })
      return (await raw.inspect()).State.ExitCode
    },
    run: async (...inside) => {
      const { exitCode, output } = await started.exec(inside)
      if (exitCode !== 0) throw new Error(`${inside.join(' ')} in ${name}: ${exitCode} ${output}`)
      return output
    },
    [Symbol.asyncDispose]: () => raw.remove({ force: true, v: true }),
  }
}

/** Runs a container to its end. */
export async function runToEnd(
  image: string,
  command: string[],
  environment: Record<string, string> = {},
): Promise<{ exitCode: number; output: string }> {
  const chunks: Buffer[] = []
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  const Env = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const [result, container] = await (await engine()).run(image, command, [sink, sink], {
    Tty: false,
    Env,
    Labels: imagesOrFail().labels,
    HostConfig: { NetworkMode: 'none' },
  })
  await container.remove()
  return { exitCode: result.StatusCode, output: Buffer.concat(chunks).toString() }
}

export interface ServiceContainerOptions {
  network: TestNetwork
  environment: Environment
  ports?: Record<number, number>
  files?: Record<string, string>
}

/** What each service logs when it is ready. */
const readyLines: Record<ServiceRole, RegExp> = {
  gateway: /"msg":"listening"/,
  connector: /"msg":"serving"/,
  policy: /"msg":"serving"/,
  registry: /"msg":"serving"/,
}

/** A service from our own image. */
export function startServiceContainer(
  role: ServiceRole,
  options: ServiceContainerOptions,
): Promise<TestContainer> {
  return startContainer({
    ...options,
    image: imagesOrFail().sallyport,
    kind: role,
    command: [role],
    readyLine: readyLines[role],
  })
}

function defined(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
}
