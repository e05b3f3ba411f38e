/** Small answers and pages, as many as go. */

import { loadOnce } from './load-subject.ts'
import { onPlainTargets } from './on-plain-targets.ts'

export const smallJson = onPlainTargets({
  name: 'small-json-64',
  about: '1 KiB of JSON, 64 connections kept alive',
  rounds: 9,
  measure: (bench, target) => loadOnce(bench, target, { path: '/json', connections: 64 }),
})

export const oneByOne = onPlainTargets({
  name: 'small-json-1',
  about: '1 KiB of JSON, one request after the other on one connection',
  rounds: 5,
  measure: (bench, target) => loadOnce(bench, target, { path: '/json', connections: 1 }),
})

export const pages = onPlainTargets({
  name: 'page-100k-16',
  about: '100 KiB of HTML, 16 connections kept alive',
  rounds: 5,
  measure: (bench, target) => loadOnce(bench, target, { path: '/page', connections: 16 }),
})
