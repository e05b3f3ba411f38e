/** Audit of the admin API: one event for every change and for every refused one. Names of properties, never values. */

import type { FastifyRequest } from 'fastify'
import type { Audit } from '#infra/audit.ts'
import { Slug } from '#infra/contracts/application.ts'
import { nobody } from './authenticate.ts'

export interface RecordedChange {
  outcome: 'created' | 'updated' | 'deleted'
  resource: string
  application?: string
  changed: readonly string[]
  /** Null for what is no entry of a bucket. */
  revision: number | null
}

/** Bounds for what a stranger may make us write. */
const maxResourceLength = 256
const maxNames = 50
const maxNameLength = 100

/** A change without a changed property was none. */
export function recordChange(audit: Audit, req: FastifyRequest, change: RecordedChange): void {
  if (change.outcome === 'updated' && change.changed.length === 0) return
  audit.record({
    category: 'admin',
    ...common(req),
    outcome: change.outcome,
    application: change.application ?? null,
    resource: change.resource,
    changed: [...change.changed],
    revision: change.revision,
  })
}

/** Requests that only read are not recorded, unless they had no valid token. */
export function recordRefusal(audit: Audit, req: FastifyRequest): void {
  const isRead = req.method === 'GET' || req.method === 'HEAD'
  if (isRead && req.actor !== '') return
  audit.record({
    category: 'admin',
    ...common(req),
    outcome: 'refused',
    application: namedApplication(req),
    resource: shownResource(audit, req).slice(0, maxResourceLength),
    changed: namesOf(req.body),
    revision: null,
  })
}

function common(req: FastifyRequest) {
  return { requestId: req.id, user: null, session: null, actor: req.actor || nobody }
}

/** The path without version: `applications/wiki`. */
function resourceOf(url: string): string {
  return url.replace(/\?.*$/, '').replace(/^\/(v1\.0|beta)?\/?/i, '')
}

/** The same as far as events may say it. */
function shownResource(audit: Audit, req: FastifyRequest): string {
  const { url: route } = req.routeOptions
  // What is no path of ours may name a user anywhere.
  if (route === undefined) return audit.shown('user', resourceOf(req.url))
  if (!route.includes('/users/:id/')) return resourceOf(req.url)
  const { id = '', ...others } = req.params as Partial<Record<string, string>>
  const shown = { ...others, id: audit.shown('user', id) }
  return resourceOf(route.replace(/:(\w+)/g, (_, name: keyof typeof shown) => shown[name] ?? ''))
}

function namedApplication(req: FastifyRequest): string | null {
  const [, id] = /^(?:applications|servicePrincipals)\/([^/]+)/i.exec(resourceOf(req.url)) ?? []
  return Slug.safeParse(id).data ?? null
}

function namesOf(body: unknown): string[] {
  if (typeof body !== 'object' || body === null) return []
  const names = Object.keys(body).slice(0, maxNames)
  return names.map(name => name.slice(0, maxNameLength))
}
