/** The admin API of a running system, as a script would use it. */

/** A running system, or one registry of it. */
export interface Administered {
  readonly admin: { readonly url: string; readonly token: string }
}

/** One request below /v1.0; anything but success is an error with the answer in it. */
export async function administer(
  { admin }: Administered,
  method: string,
  path: string,
  body?: unknown,
): Promise<unknown> {
  const response = await fetch(new URL(`/v1.0${path}`, admin.url), {
    method,
    headers: {
      authorization: `Bearer ${admin.token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}

const groups = '/onPremisesPublishingProfiles/applicationProxy/connectorGroups'

export async function createGroup(system: Administered, id: string): Promise<void> {
  await administer(system, 'POST', groups, { id, name: id })
}

export async function moveToGroup(
  system: Administered,
  application: string,
  group: string,
): Promise<void> {
  await administer(system, 'PUT', `/applications/${application}/connectorGroup`, { id: group })
}

const connectors = '/onPremisesPublishingProfiles/applicationProxy/connectors'

/** What the admin API says of a connector. */
export interface ConnectorState {
  readonly status: string
  readonly state: string
  readonly connectorGroupId: string
  readonly servedGroupId: string
  readonly lastByteDateTime: string | null
  readonly carriedBytes: number
  readonly carried: readonly { applicationId: string; exchanges: number; bytes: number }[]
  readonly notReady: readonly { applicationId: string; reason: string }[]
  readonly problems: readonly string[]
}

export async function readConnector(system: Administered, id: string): Promise<ConnectorState> {
  return (await administer(system, 'GET', `${connectors}/${id}`)) as ConnectorState
}

export async function changeConnector(
  system: Administered,
  id: string,
  patch: { connectorGroupId?: string; isEnabled?: boolean },
): Promise<void> {
  await administer(system, 'PATCH', `${connectors}/${id}`, patch)
}

export async function removeConnector(system: Administered, id: string): Promise<void> {
  await administer(system, 'DELETE', `${connectors}/${id}`)
}
