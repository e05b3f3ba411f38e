/**
 * A NATS cluster of three nodes in containers, configured as infra/deploy does it. The nodes meet on a link that can be
 * cut node by node while their clients, on another network or this machine, stay connected.
 */

import { expect, vi } from 'vitest'
import { clusterConfig } from '#infra/deploy/nats-config.ts'
import { freePort } from '#infra/embedded/ports.ts'
import type { BusRole } from '#infra/permissions.ts'
import { busUrlOf, createRoleKeys } from '#infra/role-keys.ts'
import { imagesOrFail, startContainer, type TestContainer, TestNetwork } from './containers.ts'

export const nodeNames = ['nats-1', 'nats-2', 'nats-3'] as const
export type NodeName = (typeof nodeNames)[number]

export interface NatsNode extends TestContainer {
  readonly nodeName: NodeName
  /** Of the server's monitoring, as `/connz`. */
  monitor<Answer>(path: string): Promise<Answer>
  readonly port: number
}

export interface NatsCluster extends AsyncDisposable {
  readonly network: TestNetwork
  node(name: NodeName): NatsNode
  /** For a role, from this machine: to all nodes, or only to those named. */
  urlFor(role: BusRole, nodes?: readonly NodeName[]): string
  /** The same for containers of `network`. */
  insideUrlFor(role: BusRole): string
  /** Brings a node down in one of the ways in which nodes go. */
  take(name: NodeName, how: keyof typeof outages): Promise<Outage>
  /** Resolves when every node sees both others and is up to date with its streams. */
  whole(): Promise<void>
  /** How many other nodes a node has a route to. */
  peersOf(name: NodeName): Promise<number>
}

/** One node is away until it ends, at the latest on disposal. */
export interface Outage extends AsyncDisposable {
  /** Brings the node back and resolves when the cluster is whole again. */
  end(): Promise<void>
}

/** How a node goes, and how it comes back. */
const outages = {
  /** Its process ends at once. */
  dead: {
    begin: (node: NatsNode) => node.kill(),
    end: (node: NatsNode) => node.startAgain(),
  },
  /** The other nodes cannot be reached, its clients stay. */
  'cut off': {
    begin: (node: NatsNode, link: TestNetwork) => link.cut(node.started),
    end: (node: NatsNode, link: TestNetwork) => link.join(node.started, node.nodeName),
  },
  /** Its connections stay open and nothing comes. */
  hung: {
    begin: (node: NatsNode) => node.pause(),
    end: (node: NatsNode) => node.resume(),
  },
} as const

/** Elections of thirteen streams on a busy machine. */
const wholeWithinMs = 60_000

const keys = createRoleKeys()

export async function startNatsCluster(): Promise<NatsCluster> {
  await using stack = new AsyncDisposableStack()
  const network = stack.use(await TestNetwork.outer('bus'))
  const link = stack.use(await TestNetwork.link('routes'))
  const config = clusterConfig({
    nodes: nodeNames,
    keys,
    routePassword: 'route-password',
    storeDirectory: '/data',
  })
  const nodes = new Map<NodeName, NatsNode>()
  await Promise.all(
    nodeNames.map(async name => {
      const node = stack.use(await startNode(name, network, config))
      await link.join(node.started, name)
      nodes.set(name, node)
    }),
  )
  const running = stack.move()
  const node = (name: NodeName) => nodes.get(name) as NatsNode
  const url = (role: BusRole, address: string) => busUrlOf(role, keys, `nats://${address}`)
  const cluster: NatsCluster = {
    network,
    node,
    urlFor: (role, names = nodeNames) =>
      names.map(name => url(role, `127.0.0.1:${node(name).port}`)).join(','),
    insideUrlFor: role => nodeNames.map(name => url(role, `${node(name).name}:4222`)).join(','),
    take: (name, how) => takeNode(cluster, node(name), link, how),
    whole: () => untilWhole(cluster),
    peersOf: async name => {
      const { routes } = await node(name).monitor<Routez>('/routez')
      return new Set(routes.map(route => route.remote_name)).size
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
  return cluster
}

interface Routez {
  routes: { remote_name: string }[]
}

interface Healthz {
  status: string
  error?: string
}

async function startNode(name: NodeName, network: TestNetwork, config: string): Promise<NatsNode> {
  const [port, monitorPort] = [await freePort(), await freePort()]
  const container = await startContainer({
    image: imagesOrFail().nats,
    network,
    kind: name,
    command: ['--config', '/etc/nats/nats.conf', '--name', name],
    files: { '/etc/nats/nats.conf': config },
    ports: { 4222: port, 8222: monitorPort },
    readyLine: /Server is ready/,
  })
  return {
    ...container,
    nodeName: name,
    port,
    monitor: async path => {
      const signal = AbortSignal.timeout(2_000)
      const response = await fetch(`http://127.0.0.1:${monitorPort}${path}`, { signal })
      return (await response.json()) as never
    },
  }
}

async function takeNode(
  cluster: NatsCluster,
  node: NatsNode,
  link: TestNetwork,
  how: keyof typeof outages,
): Promise<Outage> {
  await outages[how].begin(node, link)
  let ended: Promise<void> | undefined
  const end = () => {
    ended ??= outages[how].end(node, link).then(() => cluster.whole())
    return ended
  }
  return { end, [Symbol.asyncDispose]: end }
}

async function untilWhole(cluster: NatsCluster): Promise<void> {
  const health = async (name: NodeName) => {
    const { status, error } = await cluster.node(name).monitor<Healthz>('/healthz')
    return error ?? status
  }
  const state = (name: NodeName) =>
    Promise.all([cluster.peersOf(name), health(name)]).catch(() => 'does not answer')
  await vi.waitFor(
    async () =>
      expect(await Promise.all(nodeNames.map(state))).toEqual(nodeNames.map(() => [2, 'ok'])),
    { timeout: wholeWithinMs, interval: 100 },
  )
}
