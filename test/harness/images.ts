/**
 * Images for the container tests, once per run: the official ones when they are here or can be pulled, otherwise
 * stand-ins made of what npm and this machine hold; ours is always built from infra/deploy/Dockerfile. Without a
 * container engine the tests are skipped, but with CI set that is an error. The sweep at the end removes whatever a
 * failed test has left behind.
 */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { type ContainerRuntimeClient, getContainerRuntimeClient, ImageName } from 'testcontainers'
import type { TestProject } from 'vitest/node'
import { findNatsServer } from '#infra/embedded/nats-binary.ts'
import { binary } from './nats.ts'

export interface ContainerImages {
  readonly nats: string
  readonly node: string
  readonly sallyport: string
  /** On every container and network of this run. */
  readonly labels: Record<string, string>
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Null where no container engine answers. */
    images: ContainerImages | null
  }
}

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const deploy = join(root, 'infra/deploy')
const labelName = 'sallyport.test'

export async function setup(project: TestProject): Promise<void> {
  const client = await engine()
  if (!client) {
    process.stderr.write('no container engine answers: the container tests are skipped\n')
    project.provide('images', null)
    return
  }
  const [nats, node] = await Promise.all([natsImage(client), nodeImage(client)])
  const labels = { [labelName]: String(process.pid) }
  project.provide('images', { nats, node, sallyport: await sallyportImage(node), labels })
}

/** In place of testcontainers' own clean-up container, which would have to be pulled. */
export async function teardown(): Promise<void> {
  const client = await engine().catch(() => undefined)
  if (!client) return
  const { dockerode } = client.container
  const filters = JSON.stringify({ label: [`${labelName}=${process.pid}`] })
  for (const { Id } of await dockerode.listContainers({ all: true, filters })) {
    await dockerode.getContainer(Id).remove({ force: true, v: true })
  }
  for (const { Id } of await dockerode.listNetworks({ filters })) {
    await dockerode.getNetwork(Id).remove()
  }
}

async function engine(): Promise<ContainerRuntimeClient | undefined> {
  try {
    return await getContainerRuntimeClient()
  } catch (error) {
    if (process.env.CI) throw error
    return undefined
  }
}

/** The tag of a stand-in names the version: another one is built when the program changes. */
async function natsImage(client: ContainerRuntimeClient): Promise<string> {
  const official = process.env.SALLYPORT_NATS_IMAGE ?? 'nats:2.14'
  if (await isHere(client, official)) return official
  const program = await findNatsServer(binary)
  const { stdout } = await run(program, ['--version'])
  const standIn = `sallyport-test/nats:${/v?(\d[\w.-]*)/.exec(stdout)?.[1]}`
  return await either(client, { official, standIn }, () =>
    docker('build', '-t', standIn, '-f', join(deploy, 'nats.Dockerfile'), dirname(program)),
  )
}

async function nodeImage(client: ContainerRuntimeClient): Promise<string> {
  const official = process.env.SALLYPORT_NODE_IMAGE ?? 'node:24-slim'
  const standIn = `sallyport-test/node:${process.version.slice(1)}`
  return await either(client, { official, standIn }, () =>
    run(join(deploy, 'node-stand-in.sh'), [standIn, process.execPath]),
  )
}

/** Several checkouts on one machine do not take each other's image. */
async function sallyportImage(node: string): Promise<string> {
  const tag = `sallyport-test/sallyport:${createHash('sha256').update(root).digest('hex').slice(0, 8)}`
  const file = join(deploy, 'Dockerfile')
  await docker('build', '-t', tag, '-f', file, '--build-arg', `NODE_IMAGE=${node}`, root)
  return tag
}

async function either(
  client: ContainerRuntimeClient,
  { official, standIn }: { official: string; standIn: string },
  build: () => Promise<unknown>,
): Promise<string> {
  if (await isHere(client, official)) return official
  if (await isHere(client, standIn)) return standIn
  try {
    await client.image.pull(ImageName.fromString(official))
    return official
  } catch {
    process.stderr.write(`${official} cannot be pulled here; ${standIn} is built instead\n`)
    await build()
    return standIn
  }
}

function isHere(client: ContainerRuntimeClient, name: string): Promise<boolean> {
  return client.image.exists(ImageName.fromString(name))
}

/** By the command line, whose message says why a build failed. */
async function docker(...args: string[]): Promise<void> {
  try {
    await run('docker', args, { maxBuffer: 64 * 1024 * 1024 })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`docker ${args.join(' ')}\n${stdout.slice(-4_000)}${stderr}`, { cause: error })
  }
}
