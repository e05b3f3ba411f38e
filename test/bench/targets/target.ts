/** A way to the origin that is measured, or the reason why it is not. */

import type { TestCertificate } from '../../harness/certificate.ts'
import type { Child } from '../machine/child.ts'
import type { Processes } from '../machine/process-tree.ts'

export const targetNames = [
  'direct',
  'nginx',
  'haproxy',
  'node-proxy',
  'fastify-proxy',
  'nats-tunnel',
  'ssh',
  'chisel',
  'frp-tcp',
  'frp-http',
  'oauth2-proxy',
  'sallyport',
] as const
export type TargetName = (typeof targetNames)[number]

export interface Target extends AsyncDisposable {
  readonly name: TargetName
  /** On 127.0.0.1. */
  readonly port: number
  readonly isSecure?: boolean
  /** Of ours: whether what the services say to each other is encrypted too. */
  readonly isBusSecure?: boolean
  /** Sent with every request; `Host` spelt so, or wrk would add a second one. */
  readonly headers: Readonly<Record<string, string>>
  /** Everything between client and origin. */
  readonly processes: Processes
  /** As it calls itself, and how it is set up where that matters. */
  readonly version: string
  /** Called before each round, by those whose sign-in does not last a run. */
  refresh?(): Promise<void>
  /** Frees what is no longer held, by those that can be asked to. */
  collectGarbage?(): Promise<void>
}

export interface MissingTarget {
  readonly name: TargetName
  /** Why it is not measured. */
  readonly note: string
  /** It is there and does not work. */
  readonly hasFailed?: boolean
}

export interface StartOptions {
  readonly origin: Child
  /** Given: it listens for TLS with this one. */
  readonly certificate?: TestCertificate
}

export type Start = (options: StartOptions) => Promise<Target | MissingTarget>

export function isMissing(target: Target | MissingTarget): target is MissingTarget {
  return 'note' in target
}

/** A target that cannot be measured here, for want of a program. */
export function notInstalled(name: TargetName, program: string): MissingTarget {
  return { name, note: `not measured: ${program} is not installed` }
}
