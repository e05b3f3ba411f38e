/**
 * Brings publications into a running registry over its admin API. It may be repeated with every start: what is there
 * is changed to what is asked, nothing is published twice, and what others published in the same data folder stays. Who
 * may use what is published already is left to administrators: a start lets nobody in whom they keep out.
 */

import { z } from 'zod'
import { defaultConnectorGroupId } from '../contracts/connector.ts'
import { localDomain, localUrl, type Place, type Publication } from './publications.ts'

export interface AdminApi {
  url: string
  token: string
  signal?: AbortSignal
}

/** What is read of an application; the registry answers more. */
const PublishedApplication = z.object({
  id: z.string(),
  appRoleAssignmentRequired: z.boolean(),
  connectorGroupId: z.string(),
  onPremisesPublishing: z.object({
    externalUrl: z.url(),
    internalUrl: z.url(),
    externalAuthenticationType: z.string(),
  }),
})
export type PublishedApplication = z.output<typeof PublishedApplication>

/** Null while an administrator has registered it and not published it. */
const RegisteredApplication = PublishedApplication.extend({
  onPremisesPublishing: PublishedApplication.shape.onPremisesPublishing.nullable(),
})

function isPublished(
  application: z.output<typeof RegisteredApplication>,
): application is PublishedApplication {
  return application.onPremisesPublishing !== null
}

const Assignment = z.object({ principalType: z.string(), principalId: z.string() })

/** Publishes at `place`, and moves there what an earlier run published at another one. Returns all there is. */
export async function publishAll(
  api: AdminApi,
  publications: readonly Publication[],
  place: Place,
): Promise<PublishedApplication[]> {
  const there = await list(api, '/v1.0/applications', RegisteredApplication)
  for (const publication of publications) {
    const present = there.find(({ id }) => id === publication.name)
    await publish(api, publication, { place, present })
  }
  const names = new Set(publications.map(({ name }) => name))
  for (const application of there.filter(isPublished)) {
    if (!names.has(application.id)) await moveTo(api, application, place)
  }
  return (await list(api, '/v1.0/applications', RegisteredApplication)).filter(isPublished)
}

const profile = '/v1.0/onPremisesPublishingProfiles/applicationProxy'

/** A one-time token that enrols one connector in a group. */
export async function makeConnectorToken(api: AdminApi, connectorGroupId: string): Promise<string> {
  const made = await ask(api, 'POST', `${profile}/connectorEnrolmentTokens`, { connectorGroupId })
  return z.object({ token: z.string() }).parse(made).token
}

interface Circumstances {
  place: Place
  present: z.output<typeof RegisteredApplication> | undefined
}

async function publish(
  api: AdminApi,
  { name, displayName, internalUrl, access }: Publication,
  { place, present }: Circumstances,
): Promise<void> {
  const where = { externalUrl: localUrl(name, place), internalUrl }
  const externalAuthenticationType = access === 'passthrough' ? 'passthru' : 'aadPreAuthentication'
  const asked = {
    appRoleAssignmentRequired: access !== 'signed-in',
    onPremisesPublishing: { ...where, externalAuthenticationType },
  }
  const path = `/v1.0/applications/${name}`
  // Its group and display name may have been changed by an administrator, and nobody asks for others here.
  if (present && isPublished(present))
    await ask(api, 'PATCH', path, { onPremisesPublishing: where })
  else if (present) await ask(api, 'PATCH', path, asked)
  else {
    const created = { id: name, displayName, connectorGroupId: defaultConnectorGroupId, ...asked }
    await ask(api, 'POST', '/v1.0/applications', created)
  }
  if (typeof access === 'object') await assign(api, name, access.group)
}

async function assign(api: AdminApi, name: string, group: string): Promise<void> {
  const path = `/v1.0/servicePrincipals/${name}/appRoleAssignedTo`
  const assigned = await list(api, path, Assignment)
  if (assigned.some(one => one.principalType === 'Group' && one.principalId === group)) return
  await ask(api, 'POST', path, { principalType: 'Group', principalId: group })
}

/** Hosts of the local domain are this system's own, so they follow it. */
async function moveTo(
  api: AdminApi,
  { id, onPremisesPublishing }: PublishedApplication,
  { port, scheme }: Place,
): Promise<void> {
  const url = new URL(onPremisesPublishing.externalUrl)
  if (!url.hostname.endsWith(`.${localDomain}`)) return
  url.protocol = scheme
  url.port = String(port)
  if (url.href === onPremisesPublishing.externalUrl) return
  const moved = { onPremisesPublishing: { externalUrl: url.href } }
  await ask(api, 'PATCH', `/v1.0/applications/${id}`, moved)
}

/** All pages of a list. */
async function list<Item extends z.ZodType>(
  api: AdminApi,
  path: string,
  item: Item,
): Promise<z.output<Item>[]> {
  const Page = z.object({ value: z.array(item), '@odata.nextLink': z.url().optional() })
  const items: z.output<Item>[] = []
  for (let next: string | undefined = path; next !== undefined; ) {
    const page: z.output<typeof Page> = Page.parse(await ask(api, 'GET', next))
    items.push(...page.value)
    const link = page['@odata.nextLink']
    // Only the path: the token goes to the registry's own address and nowhere else.
    next = link && new URL(link).pathname + new URL(link).search
  }
  return items
}

const deadlineMs = 10_000

async function ask(api: AdminApi, method: string, path: string, body?: unknown): Promise<unknown> {
  const deadline = AbortSignal.timeout(deadlineMs)
  const response = await fetch(new URL(path, api.url), {
    method,
    headers: {
      authorization: `Bearer ${api.token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: api.signal ? AbortSignal.any([api.signal, deadline]) : deadline,
  })
  const text = await response.text()
  if (!response.ok) {
    throw new Error(`the registry refused ${method} ${path} (${response.status}): ${text}`)
  }
  return text === '' ? undefined : JSON.parse(text)
}
