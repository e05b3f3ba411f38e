/** Fills the registry's buckets with applications in bulk: its admin API would take hours for 100,000. */

import { randomUUID } from 'node:crypto'
import { jetstream } from '@nats-io/jetstream'
import type { Bus } from '#infra/bus.ts'
import { RegisteredApplication } from '#infra/contracts/application.ts'
import { ConnectorGroup } from '#infra/contracts/connector.ts'
import { bucketEntry, buckets } from '#infra/subjects.ts'

/** Applications of one connector group, unless told otherwise. */
const usualGroupSize = 100

/** Writes under way at once. */
const atOnce = 1_000

/** Adds so many, each `groupSize` of them in a connector group of their own. They answer at no address that is measured. */
export async function configureApplications(
  bus: Bus,
  count: number,
  groupSize = usualGroupSize,
): Promise<void> {
  const js = jetstream(bus.connection, { timeout: 20_000 })
  const groups = Array.from({ length: Math.ceil(count / groupSize) }, (_, index) =>
    groupEntry(index),
  )
  const applications = Array.from({ length: count }, (_, index) =>
    applicationEntry(index, configuredGroup(Math.floor(index / groupSize))),
  )
  const entries = [...groups, ...applications]
  for (let at = 0; at < entries.length; at += atOnce) {
    const writes = entries.slice(at, at + atOnce)
    await Promise.all(writes.map(([subject, value]) => js.publish(subject, JSON.stringify(value))))
  }
}

/** Where the application with this number is published. */
export function configuredHost(index: number): string {
  return `grown-${index}.bench.test`
}

/** The connector group with this number. */
export function configuredGroup(index: number): string {
  return `grown-group-${index}`
}

type Entry = [subject: string, value: object]

const createdDateTime = new Date().toISOString()

function groupEntry(index: number): Entry {
  const id = configuredGroup(index)
  const value = ConnectorGroup.parse({ id, name: id, createdDateTime })
  return [bucketEntry(buckets.connectorGroups, id), value]
}

function applicationEntry(index: number, connectorGroupId: string): Entry {
  const id = `grown-${index}`
  const value = RegisteredApplication.parse({
    id,
    appId: randomUUID(),
    displayName: id,
    createdDateTime,
    appRoleAssignmentRequired: false,
    connectorGroupId,
    onPremisesPublishing: {
      externalUrl: `https://${configuredHost(index)}/`,
      internalUrl: `http://${id}.internal.test/`,
    },
  })
  return [bucketEntry(buckets.applications, id), value]
}
