/** The parts of OData that Graph's clients rely on: lists in pages, entity tags, references. */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Precondition } from '../applications.ts'
import { invalid, Refusal } from '../refusal.ts'

const defaultPageSize = 100
const maxPageSize = 999

/** Query of a list. Other OData options are refused: a filter that is ignored gives a wrong answer. */
export const ListQuery = z.strictObject({
  $top: z
    .string()
    .regex(/^\d{1,3}$/, `must be a whole number from 1 to ${maxPageSize}`)
    .transform(Number)
    .refine(value => value >= 1, { error: `must be a whole number from 1 to ${maxPageSize}` })
    .optional(),
  $skiptoken: z.string().max(512).optional(),
})
export type ListQuery = z.output<typeof ListQuery>

export const NoQuery = z.strictObject({})

/** `{ value: […], "@odata.nextLink": … }` */
export const listOf = <Item extends z.ZodType>(item: Item) =>
  z.object({ value: z.array(item), '@odata.nextLink': z.string().optional() })

/**
 * One page of a list that is ordered by `keyOf`. The token is the key of the last item, so that items which come or go
 * between two pages neither repeat nor hide others.
 */
export function page<Item>(
  req: FastifyRequest<{ Querystring: ListQuery }>,
  items: readonly Item[],
  keyOf: (item: Item) => string,
): { value: Item[]; '@odata.nextLink'?: string } {
  const { $top = defaultPageSize, $skiptoken } = req.query
  const after = $skiptoken === undefined ? undefined : fromToken($skiptoken)
  const rest = after === undefined ? items : items.filter(item => keyOf(item) > after)
  const value = rest.slice(0, $top)
  const last = value.at(-1)
  if (last === undefined || rest.length <= value.length) return { value }
  const token = Buffer.from(keyOf(last)).toString('base64url')
  const path = req.url.split('?')[0]
  const query = `$top=${$top}&$skiptoken=${token}`
  return { value, '@odata.nextLink': `${req.protocol}://${req.host}${path}?${query}` }
}

function fromToken(token: string): string {
  if (!/^[\w-]+$/.test(token)) throw invalid('$skiptoken', 'is not one that this API has given out')
  return Buffer.from(token, 'base64url').toString('utf8')
}

export function etagOf(revision: number): string {
  return `W/"${revision}"`
}

/** `If-Match`: the change is made only if the resource still has one of these entity tags. */
export function preconditionOf(req: FastifyRequest): Precondition {
  const header = req.headers['if-match']
  if (header === undefined || header.trim() === '*') return () => undefined
  const tags = header.split(',').map(tag => tag.trim().replace(/^W\//, ''))
  return revision => {
    if (tags.includes(`"${revision}"`)) return
    throw new Refusal(
      'precondition_failed',
      `If-Match is ${header}, but the resource is at ${etagOf(revision)} by now`,
    )
  }
}

/** Graph answers a change with 204; `Prefer: return=representation` (RFC 7240) asks for the result. */
export function wantsRepresentation(req: FastifyRequest): boolean {
  return /\breturn=representation\b/i.test(String(req.headers.prefer ?? ''))
}

export function setEtag(reply: FastifyReply, revision: number): void {
  void reply.header('etag', etagOf(revision))
}

/** A reference to a connector group, as Graph writes it or by its id alone. */
export const GroupReference = z.union(
  [
    z
      .object({ '@odata.id': z.string().max(2_048) })
      .transform(body => lastSegment(body['@odata.id'])),
    z.object({ id: z.string().max(256) }).transform(body => body.id),
  ],
  { error: 'must be {"@odata.id": "…/connectorGroups/<id>"} or {"id": "<id>"}' },
)

function lastSegment(reference: string): string {
  const path = reference.replace(/[?#].*$/, '').replace(/\/+$/, '')
  return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)).replace(/^.*\('(.+)'\)$/, '$1')
}
