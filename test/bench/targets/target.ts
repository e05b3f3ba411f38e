/** A way to the origin that is measured, or the reason why it is not. */

import type { Processes } from '../cpu.ts'

export const targetNames = ['direct', 'nginx', 'node-proxy', 'fastify-proxy', 'sallyport'] as const
export type TargetName = (typeof targetNames)[number]

export interface Target extends AsyncDisposable {
  readonly name: TargetName
  /** On 127.0.0.1. */
  readonly port: number
  /** Sent with every request; `Host` spelt so, or wrk would add a second one. */
  readonly headers: Readonly<Record<string, string>>
  /** Everything between client and origin. */
  readonly processes: Processes
  /** As it calls itself. */
  readonly version: string
}

export interface MissingTarget {
  readonly name: TargetName
  /** Why it is not measured. */
  readonly note: string
}

export function isMissing(target: Target | MissingTarget): target is MissingTarget {
  return 'note' in target
}
