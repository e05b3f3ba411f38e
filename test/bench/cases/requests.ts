/** Small answers and pages, as many as go. */

import { loadOnce } from './load-subject.ts'
import { onPlainTargets, type PlainCase } from './on-plain-targets.ts'
import { whilePolling } from './while-polling.ts'

export const smallJson = onPlainTargets({
  name: 'small-json-64',
  about: '1 KiB of JSON, 64 connections kept alive',
  rounds: 9,
  measure: (bench, target) => loadOnce(bench, target, { path: '/json', connections: 64 }),
})

const oneConnection: PlainCase = {
  name: 'small-json-1',
  about: '1 KiB of JSON, one request after the other on one connection',
  rounds: 5,
  measure: (bench, target) => loadOnce(bench, target, { path: '/json', connections: 1 }),
}

export const oneByOne = onPlainTargets(oneConnection)

export const oneByOnePolling = whilePolling(
  onPlainTargets({
    ...oneConnection,
    among: ['direct', 'nginx', 'fastify-proxy', 'nats-tunnel', 'chisel', 'sallyport'],
  }),
)

export const pages = onPlainTargets({
  name: 'page-100k-16',
  about: '100 KiB of HTML, 16 connections kept alive',
  rounds: 5,
  measure: (bench, target) => loadOnce(bench, target, { path: '/page', connections: 16 }),
})
