/**
 * The rules that no single application can keep by itself: one address belongs to one application, a connector group
 * that is named exists, and an application fits into one message.
 */

import {
  type Application,
  isPublished,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import type { ConnectorGroup } from '#infra/contracts/connector.ts'
import type { ApplicationIndex } from './application-index.ts'
import { checkExternalUrl } from './external-url.ts'
import { invalid, Refusal } from './refusal.ts'
import type { State, Store } from './store.ts'

export interface Rules {
  index: ApplicationIndex
  externalBaseUrl: string | undefined
  /** Largest message of the bus. */
  maxMessageBytes: number
}

/** Refuses a candidate that does not go together with the other applications. */
export function checkApplication(rules: Rules, candidate: RegisteredApplication): void {
  const { index } = rules
  const sameAppId = index.withAppId(candidate.appId)
  if (sameAppId !== undefined && sameAppId !== candidate.id) {
    throw new Refusal('already_exists', `appId belongs to the application "${sameAppId}"`)
  }
  checkSize(rules.maxMessageBytes, candidate)
  if (!isPublished(candidate)) return
  checkExternalUrl(candidate, address => index.at(address), rules.externalBaseUrl)
}

export type Groups = State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>

/**
 * Refuses a group that an application cannot be put into. To be called while a change is being decided: between this
 * and the write the group cannot be deleted without the change being decided anew (connector-groups.ts).
 */
export async function checkGroup(groups: Groups, id: string): Promise<void> {
  await groups.sync()
  const group = groups.get(id)?.value
  if (!group) throw invalid('connectorGroupId', `there is no connector group "${id}"`)
  if (!group.isClosing) return
  throw invalid(
    'connectorGroupId',
    `connector group "${id}" is being deleted; if that was interrupted, delete it once more`,
  )
}

/** Room for what surrounds an application in a message. */
const envelopeBytes = 1_024

const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value))

function checkSize(maxBytes: number, candidate: RegisteredApplication): void {
  if (bytesOf(candidate) + envelopeBytes <= maxBytes) return
  throw invalid('appRoleAssignments', 'are too many: assign groups instead of single users')
}

/** Connectors need not know who may use an application. */
export function forConnectors(application: Application): Application {
  return { ...application, appRoleAssignments: [] }
}
