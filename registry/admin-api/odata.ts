/** The parts of OData that Graph's clients rely on, but for lists (list.ts): entity tags, references. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Precondition } from '../applications.ts'
import { Refusal } from '../refusal.ts'

export function etagOf(version: number | string): string {
  return `W/"${version}"`
}

/** `If-Match`: the change is made only if the resource still has one of these entity tags. */
export function preconditionOf(req: FastifyRequest): Precondition {
  const header = req.headers['if-match']
  if (header === undefined || header.trim() === '*') return () => undefined
  const tags = header.split(',').map(tag => tag.trim().replace(/^W\//, ''))
  return version => {
    if (tags.includes(`"${version}"`)) return
    throw new Refusal(
      'precondition_failed',
      `If-Match is ${header}, but the resource is at ${etagOf(version)} by now`,
    )
  }
}

/** Graph answers a change with 204; `Prefer: return=representation` (RFC 7240) asks for the result. */
export function wantsRepresentation(req: FastifyRequest): boolean {
  return /\breturn=representation\b/i.test(String(req.headers.prefer ?? ''))
}

export function setEtag(reply: FastifyReply, version: number | string): void {
  void reply.header('etag', etagOf(version))
}

/** A reference to a connector group, as Graph writes it or by its id alone. */
export const GroupReference = z.union(
  [
    z.object({ '@odata.id': z.string().max(2_048) }).transform((body, ctx) => {
      const id = lastSegment(body['@odata.id'])
      if (id === undefined) ctx.addIssue({ code: 'custom', message: 'is no URL' })
      return id ?? z.NEVER
    }),
    z.object({ id: z.string().max(256) }).transform(body => body.id),
  ],
  { error: 'must be {"@odata.id": "…/connectorGroups/<id>"} or {"id": "<id>"}' },
)

/** Undefined when it is escaped in a way that means nothing. */
function lastSegment(reference: string): string | undefined {
  const [path = ''] = reference.split(/[?#]/, 1)
  const segment = path.split('/').findLast(part => part !== '') ?? ''
  try {
    const id = decodeURIComponent(segment)
    return /\('([^']+)'\)$/.exec(id)?.[1] ?? id
  } catch {
    return undefined
  }
}
