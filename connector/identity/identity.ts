/**
 * The identity of an enrolled connector while it runs: what the bus is dialled with, the root that statements are checked
 * against, and the two things that keep it good: renewal in time, and asking why when the bus does not take it.
 */

import type { X509Certificate } from 'node:crypto'
import type { Bus } from '#infra/bus.ts'
import type { ClientIdentity, ProxySettings } from '#infra/bus-connection.ts'
import { ConfigurationError } from '#infra/config.ts'
import type { Logger } from '#infra/log.ts'
import { IdentityFolder } from './folder.ts'
import { RegistryTime } from './registry-time.ts'
import { renewInTime } from './renewal.ts'
import { type StandingWatch, watchStanding } from './standing.ts'

export interface IdentityOptions {
  path: string
  log: Logger
  proxy: ProxySettings
}

export interface OpenIdentity {
  readonly root: X509Certificate
  /** Key and certificate as they are stored at this moment. */
  forBus(): Promise<ClientIdentity>
  /**
   * Keeps it good; one process of a connector does that for all. `onWaiting` is told that nothing goes on before an
   * administrator has done something.
   */
  keep(bus: () => Bus | undefined, onWaiting?: () => void): StandingWatch
}

/** @throws ConfigurationError when there is none, or it cannot be used. */
export async function openIdentity({ path, log, proxy }: IdentityOptions): Promise<OpenIdentity> {
  const folder = new IdentityFolder(path)
  const identity = await folder.read()
  if (!identity) {
    const fix = 'enrol it: sallyport connector --enroll-with-token-from FILE'
    throw new ConfigurationError(`${path}: this host has no identity; ${fix}`)
  }
  return {
    root: identity.root,
    forBus: () => folder.forBus(),
    keep(bus, onWaiting) {
      const common = { folder, bus, time: new RegistryTime(log), log }
      const renewal = renewInTime(common)
      const standing = watchStanding({ ...common, proxy, onWaiting })
      return {
        ended: standing.ended,
        async [Symbol.asyncDispose]() {
          await Promise.all([renewal, standing].map(part => part[Symbol.asyncDispose]()))
        },
      }
    },
  }
}
