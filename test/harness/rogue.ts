/**
 * A connector that was enrolled in order, with a certificate like any other, and then does what it wants: for tests of
 * what the bus and the gateways let it do.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectionName } from '#infra/bus.ts'
import type { ProxySettings } from '#infra/bus-connection.ts'
import { makeConnectorToken } from '#infra/embedded/publish-all.ts'
import { createLogger } from '#infra/log.ts'
import { enrol } from '../../connector/identity/enrol.ts'
import { IdentityFolder } from '../../connector/identity/folder.ts'
import type { TestSystem } from './system.ts'
import { startWebClient, type WebClient } from './web-client.ts'

export interface Rogue extends WebClient {
  readonly connectorId: string
  readonly folder: string
  /** Under the name that its certificate says, or another one. */
  come(name?: string, proxy?: ProxySettings): Promise<void>
  /** Resolves when its connection has been cut. */
  untilCut(): Promise<void>
}

export async function startRogue(
  system: TestSystem,
  connectorId: string,
  groupId: string,
): Promise<Rogue> {
  const parent = await mkdtemp(join(tmpdir(), 'sallyport-rogue-'))
  const folder = join(parent, 'identity')
  const token = await makeConnectorToken(system.admin, groupId)
  const log = createLogger('test', 'silent')
  await enrol({ token, folder: new IdentityFolder(folder), connectorId, log })
  const client = await startWebClient()
  const url = system.parts.nats.web?.url ?? ''
  let seen = 0
  return {
    ...client,
    connectorId,
    folder,
    come: async (name = connectionName('connector', connectorId), proxy = {}) => {
      await client.connect({ url, folder, name, proxy })
      seen = (await client.state()).statuses.length
    },
    async untilCut() {
      for (;;) {
        const { statuses } = await client.state()
        if (statuses.slice(seen).includes('disconnect')) return
        await sleep(5)
      }
    },
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      await rm(parent, { recursive: true, force: true })
    },
  }
}
