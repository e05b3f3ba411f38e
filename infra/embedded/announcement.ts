/** What `sallyport up` says when everything serves: a page for people, or one line of JSON for programs. */

import { join, relative } from 'node:path'
import type { Publication } from './publications.ts'
import type { PublishedApplication } from './publish-all.ts'
import type { System } from './system.ts'

/** The line that `--json` promises. Scripts rely on every name in it. */
export function announcementJson(system: System): string {
  const { parts, admin } = system
  return JSON.stringify({
    pid: process.pid,
    portal: system.portal,
    identityProvider: parts.identityProvider.issuer,
    users: parts.identityProvider.users.map(({ name, password, groups }) => ({
      name,
      password,
      groups,
    })),
    applications: system.applications.map(application => ({
      name: application.id,
      externalUrl: application.onPremisesPublishing.externalUrl,
      internalUrl: application.onPremisesPublishing.internalUrl,
      connectorGroup: application.connectorGroupId,
    })),
    bus: parts.nats.urlFor('auditor'),
    ...(parts.nats.caPath !== undefined && { busCa: parts.nats.caPath }),
    admin: admin.url,
    adminToken: admin.token,
    gateways: system.gatewayUrls,
  })
}

export function announcementText(system: System): string {
  const { identityProvider } = system.parts
  return [
    'Sallyport is running.',
    '',
    `  Portal             ${system.portal}`,
    `  Identity provider  ${identityProvider.issuer}`,
    `  Admin API          ${system.admin.url}`,
    ...furtherGateways(system),
    '',
    ...signInAs(system),
    'Published:',
    ...table(
      ['name', 'external URL', 'internal URL', 'who may use it'],
      system.applications.map(application => row(application, system)),
    ),
    '',
    ...hints(system),
    '',
    'Ctrl-C stops everything in order.',
    '',
  ].join('\n')
}

function furtherGateways({ gatewayUrls }: System): string[] {
  const others = gatewayUrls.slice(1)
  return others.length > 0 ? [`  Further gateways   ${others.join(' ')}`] : []
}

function signInAs({ parts: { identityProvider } }: System): string[] {
  if (identityProvider.users.length === 0) return ['Sign in with an account of your provider.', '']
  const rows = identityProvider.users.map(({ name, password, groups }) => [
    name,
    password,
    groups.join(', '),
  ])
  return ['Sign in as:', ...table(['user', 'password', 'groups'], rows), '']
}

function row(application: PublishedApplication, { parts }: System): string[] {
  const { externalUrl, internalUrl } = application.onPremisesPublishing
  const sample = parts.samples.find(({ name }) => name === application.id)
  return [application.id, externalUrl, internalUrl, whoMayUse(application, sample)]
}

function whoMayUse(application: PublishedApplication, sample: Publication | undefined): string {
  if (application.onPremisesPublishing.externalAuthenticationType === 'passthru') {
    return 'everybody (passthrough)'
  }
  if (!application.appRoleAssignmentRequired) return 'everybody signed in'
  return typeof sample?.access === 'object' ? `group ${sample.access.group}` : 'those assigned'
}

/** A path as short as it can be written from the current folder. */
function fromHereOr(path: string): string {
  const fromHere = relative(process.cwd(), path)
  return fromHere.startsWith('..') ? path : fromHere
}

function hints(system: System): string[] {
  const { admin, parts } = system
  const tokenFile = fromHereOr(admin.tokenFile)
  return [
    'Publish your own application, at the next start or now:',
    '  npm start -- --publish wiki=http://127.0.0.1:3000',
    `  export SALLYPORT_ADMIN_URL=${admin.url} SALLYPORT_ADMIN_TOKEN="$(cat '${tokenFile}')"`,
    '  npm run -s sallyport -- publish wiki=http://127.0.0.1:3000',
    '',
    'Start more of a service beside it, as here a connector:',
    `  npm run -s sallyport -- connector --environment '${join(fromHereOr(system.environmentFolder), 'connector')}'`,
    '',
    'Follow what happens (audit events; read-only access to the bus):',
    `  export SALLYPORT_BUS_URL=${parts.nats.urlFor('auditor')}`,
    ...(parts.nats.caPath === undefined
      ? []
      : [`  export SALLYPORT_BUS_CA_PATH='${fromHereOr(parts.nats.caPath)}'`]),
    '  npm run -s sallyport -- tail',
  ]
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map(cells => cells[column]?.length ?? 0)))
  return all.map(cells =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  )
}
