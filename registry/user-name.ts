/**
 * What the servers of the bus call a connection of a connector, in their events and lists: `<connector>@<group>`. The
 * group is the one that it was let in for, so that every registry can judge a connection, whoever let it in.
 */

import { Slug } from '#infra/contracts/application.ts'
import { connectorIdPattern } from '#infra/contracts/connector.ts'

export interface NamedUser {
  readonly connectorId: string
  readonly groupId: string
}

export function userNameOf({ connectorId, groupId }: NamedUser): string {
  return `${connectorId}@${groupId}`
}

/** Undefined for everybody who is no connector: our own services are known by their keys. */
export function readUserName(name: string): NamedUser | undefined {
  const [connectorId = '', groupId = '', ...more] = name.split('@')
  const isOurs = connectorIdPattern.test(connectorId) && Slug.safeParse(groupId).success
  return isOurs && more.length === 0 ? { connectorId, groupId } : undefined
}
