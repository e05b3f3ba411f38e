/**
 * The rules that no single application can keep by itself: one address belongs to one application, a connector group
 * that is named exists, and an application fits into one message.
 */

import {
  type Application,
  isPublished,
  type RegisteredApplication,
} from '#infra/contracts/application.ts'
import { type ConnectorGroup, defaultConnectorGroupId } from '#infra/contracts/connector.ts'
import { payloadBytesIn } from '#infra/statement.ts'
import type { ApplicationIndex } from './application-index.ts'
import { checkExternalUrl } from './external-url.ts'
import { checkInternalUrl, checkOriginProof } from './internal-url.ts'
import { invalid, Refusal } from './refusal.ts'
import { checkSignOn } from './sign-on-rules.ts'
import type { State, Store } from './store.ts'

export interface Rules {
  index: ApplicationIndex
  externalBaseUrl: string | undefined
  /** Largest message of the bus. */
  maxMessageBytes: number
  /** Whether applications may be published from the group that every installation has. */
  doesDefaultGroupServe: boolean
}

/** Refuses a candidate that does not go together with the other applications. */
export function checkApplication(
  rules: Rules,
  candidate: RegisteredApplication,
  before?: RegisteredApplication,
): void {
  const { index } = rules
  const sameAppId = index.withAppId(candidate.appId)
  if (sameAppId !== undefined && sameAppId !== candidate.id) {
    const message = `belongs to the application "${sameAppId}"`
    throw new Refusal('already_exists', `appId ${message}`, [{ property: 'appId', message }])
  }
  checkSize(rules.maxMessageBytes, candidate)
  if (!isPublished(candidate)) return
  checkInternalUrl(candidate)
  checkOriginProof(candidate, before)
  checkExternalUrl(candidate, address => index.at(address), rules.externalBaseUrl)
  checkSignOn(candidate)
}

export type Groups = State<ConnectorGroup> & Pick<Store<ConnectorGroup>, 'sync'>

export interface GroupRules extends Rules {
  groups: Groups
}

/**
 * Refuses groups that an application cannot be put into, as far as they are new to it. To be called while a change is
 * being decided: between this and the write a group cannot be deleted without the change being decided anew
 * (connector-groups.ts).
 */
export async function checkGroups(
  rules: GroupRules,
  before: RegisteredApplication | undefined,
  after: RegisteredApplication,
): Promise<void> {
  const wasPublished = before !== undefined && isPublished(before)
  let isSynced = false
  for (const property of ['connectorGroupId', 'standbyConnectorGroupId'] as const) {
    const id = after[property]
    if (id === null) continue
    const isNew = before?.[property] !== id
    if (isNew || (isPublished(after) && !wasPublished)) checkServing(rules, property, id, after)
    if (!isNew) continue
    if (!isSynced) await rules.groups.sync()
    isSynced = true
    checkGroup(rules.groups, property, id)
  }
  if (after.standbyConnectorGroupId !== after.connectorGroupId) return
  throw invalid('standbyConnectorGroupId', 'must be another group than connectorGroupId, or null')
}

type GroupProperty = 'connectorGroupId' | 'standbyConnectorGroupId'

/** New connectors land in the default group, to be looked at before they get anything to do. */
function checkServing(
  { doesDefaultGroupServe }: Rules,
  property: GroupProperty,
  id: string,
  application: RegisteredApplication,
): void {
  if (id !== defaultConnectorGroupId || doesDefaultGroupServe || !isPublished(application)) return
  throw invalid(
    property,
    `the connector group "${id}" serves no application: create another one and name it here`,
  )
}

function checkGroup(groups: Groups, property: GroupProperty, id: string): void {
  const group = groups.get(id)?.value
  if (!group) throw invalid(property, `there is no connector group "${id}"`)
  if (!group.isClosing) return
  throw invalid(
    property,
    `connector group "${id}" is being deleted; if that was interrupted, delete it once more`,
  )
}

/** Room for what surrounds an application in a message. */
const envelopeBytes = 1_024

const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value))

function checkSize(maxBytes: number, candidate: RegisteredApplication): void {
  if (bytesOf(candidate) + envelopeBytes > maxBytes)
    throw invalid('appRoleAssignments', 'are too many: assign groups instead of single users')
  const room = payloadBytesIn(maxBytes) - envelopeBytes
  if (isPublished(candidate) && bytesOf(forConnectors(candidate)) > room)
    throw invalid(
      'onPremisesPublishing',
      `is too large: ${room} bytes are what connectors can be told`,
    )
}

/** Connectors need not know who may use an application. */
export function forConnectors(application: Application): Application {
  return { ...application, appRoleAssignments: [] }
}
