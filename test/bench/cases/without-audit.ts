/** What signing in, policy and leases cost by themselves: audit cannot be switched off, so it is taken out for this. */

import { fileURLToPath } from 'node:url'
import type { Bench } from '../bench.ts'
import type { Case, Opened } from '../case.ts'
import { sallyport } from '../targets/sallyport.ts'
import { loadSubject } from './load-subject.ts'

const helper = fileURLToPath(new URL('../helpers/without-audit.ts', import.meta.url))

export const withoutAudit: Case = {
  name: 'without-audit',
  about: '1 KiB of JSON, 64 connections kept alive; nothing of requests is recorded',
  reference: 'node-proxy',
  rounds: 5,
  open,
}

async function open(bench: Bench): Promise<Opened> {
  const none = { subjects: [], missing: [], [Symbol.asyncDispose]: async () => {} }
  if (!bench.names.includes('sallyport')) return none
  const environment = { NODE_OPTIONS: `--import=${helper}` }
  const target = await sallyport({ origin: bench.origin, environment })
  const others = bench.plain.targets.filter(({ name }) => name === 'node-proxy')
  return {
    subjects: [...others, target].map(each =>
      loadSubject(bench, each, { path: '/json', connections: 64 }),
    ),
    missing: bench.plain.missing.filter(({ name }) => name === 'node-proxy'),
    remark:
      'Audit cannot be switched off: the events of requests are taken out of the gateway here',
    [Symbol.asyncDispose]: () => target[Symbol.asyncDispose](),
  }
}
