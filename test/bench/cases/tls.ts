/** TLS at the front. Where our bus can be encrypted it is; a run says when it is not. */

import { createCertificate } from '../../harness/certificate.ts'
import type { Bench } from '../bench.ts'
import type { Case, Opened } from '../case.ts'
import { startTargets } from '../targets/all.ts'
import type { Target } from '../targets/target.ts'
import { loadSubject } from './load-subject.ts'

const among = ['nginx', 'sallyport'] as const

export const tls: Case = {
  name: 'small-json-64-tls',
  about: '1 KiB of JSON, 64 TLS connections kept alive',
  reference: 'nginx',
  rounds: 9,
  open,
}

async function open(bench: Bench): Promise<Opened> {
  await using stack = new AsyncDisposableStack()
  const certificate = stack.use(await createCertificate())
  const names = among.filter(name => bench.names.includes(name))
  const { targets, missing } = stack.use(
    await startTargets(names, { origin: bench.origin, certificate }),
  )
  const ours = targets.find(({ name }) => name === 'sallyport')
  const owned = stack.move()
  return {
    subjects: targets.map(target => loadSubject(bench, target, { path: '/json', connections: 64 })),
    missing,
    ...(ours && { remark: remarkOn(ours) }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function remarkOn(ours: Target): string {
  return ours.isBusSecure
    ? 'Sallyport: TLS at the front and on the bus'
    : 'Sallyport: TLS at the front only, the bus of this version is not encrypted'
}
