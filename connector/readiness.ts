/**
 * Which origins answer. A refused connection marks an origin down; from then on requests for it are turned away
 * before anything is started, so that another member of the group may take them, and a probe looks for it until a
 * connection succeeds.
 */

import type { Logger } from '#infra/log.ts'
import type { Dialer } from './dial.ts'

const probeIntervalMs = 500
const probeTimeoutMs = 2_000

export interface Readiness extends Disposable {
  /** Why the origin of this internal URL is down; undefined when it is not known to be. */
  reasonDown(origin: string): string | undefined
  /** A connection to it failed. */
  failed(origin: string, reason: string): void
  /** Others are not looked for any more: no application leads there. */
  keepOnly(origins: ReadonlySet<string>): void
  /** Everything that is down, for the connector's status. */
  down(): ReadonlyMap<string, string>
}

export interface ReadinessOptions {
  log: Logger
  dialer: Dialer
  onChange: () => void
}

export function watchReadiness({ log, dialer, onChange }: ReadinessOptions): Readiness {
  const down = new Map<string, string>()
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const probeAll = async () => {
    const origins = [...down.keys()]
    const answers = await Promise.all(origins.map(it => dialer.probe(it, probeTimeoutMs)))
    const back = origins.filter((origin, i) => answers[i] && down.delete(origin))
    for (const origin of back) log.info({ origin }, 'the origin answers again')
    if (back.length > 0) onChange()
    schedule()
  }
  const schedule = () => {
    timer = down.size === 0 ? undefined : setTimeout(probeAll, probeIntervalMs)
  }
  return {
    reasonDown: origin => down.get(origin),
    failed(origin, reason) {
      if (isOver || down.has(origin)) return
      down.set(origin, reason)
      log.warn({ origin, reason }, 'the origin does not answer')
      if (!timer) schedule()
      onChange()
    },
    keepOnly(origins) {
      const others = [...down.keys()].filter(origin => !origins.has(origin))
      for (const origin of others) down.delete(origin)
      if (others.length > 0) onChange()
    },
    down: () => down,
    [Symbol.dispose]() {
      isOver = true
      clearTimeout(timer)
      down.clear()
    },
  }
}
