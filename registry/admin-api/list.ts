/**
 * Lists, and the OData options that Graph's clients use on them: `$filter` with one `eq`, `$orderby`, `$select`, `$top`
 * and `$count`, in pages. Whatever else a query says is refused by name: an option that is ignored gives a wrong answer.
 */

import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { invalid } from '../refusal.ts'

const defaultPageSize = 100
const maxPageSize = 999
const maxOptionLength = 1_024

/** Two values that may have 600 characters each, as JSON in base64. */
const maxTokenLength = 12_000
const etag = '@odata.etag'

type Names = readonly [string, ...string[]]
type Item = { readonly id: string }

interface Filter {
  readonly name: string
  readonly value: string
}

interface Order {
  readonly name: string
  readonly isDescending: boolean
}

interface ListQuery {
  $filter?: Filter | undefined
  $orderby?: Order | undefined
  $select?: string[] | undefined
  $top?: number | undefined
  $count?: boolean | undefined
  $skiptoken?: string | undefined
}

/** A list of this view, which can be filtered and ordered by the properties that are named. */
export function listOf<Shape extends z.ZodRawShape>(view: z.ZodObject<Shape>, names: Names) {
  const query = z.strictObject({
    $filter: filterBy(names).optional(),
    $orderby: orderBy(names).optional(),
    $select: selectFrom(view).optional(),
    $top: pageSize.optional(),
    $count: z
      .enum(['true', 'false'])
      .transform(value => value === 'true')
      .optional()
      .describe('true: `@odata.count` says how many there are on all pages together.'),
    $skiptoken: z.string().max(maxTokenLength).optional().describe('Comes with a next link.'),
  })
  const answer = z
    .object({
      '@odata.count': z.number().int().nonnegative().optional(),
      '@odata.nextLink': z.string().optional().describe('Where the next page is, if there is one.'),
      value: z.array(view.partial()),
    })
    .describe('A page; its items have all properties unless some were selected.')
  return { query, answer }
}

/** What a query may say when it reads one resource, and what the answer is then. */
export function readOf<Shape extends z.ZodRawShape>(view: z.ZodObject<Shape>) {
  const query = z.strictObject({ $select: selectFrom(view).optional() })
  return { query, answer: view.partial().describe('All properties unless some were selected.') }
}

export const NoQuery = z.strictObject({})

const topProblem = `must be a whole number from 1 to ${maxPageSize}`

const pageSize = z
  .string()
  .regex(/^\d{1,3}$/, topProblem)
  .transform(Number)
  .refine(value => value >= 1, { error: topProblem })
  .describe(`Largest number of items on a page, ${defaultPageSize} unless given.`)

function filterBy(names: Names) {
  const error = `must be NAME eq 'VALUE', where NAME is ${oneOf(names)}`
  return option(error, names, text => {
    const [, name = '', value = ''] = /^\s*(\w+)\s+eq\s+'((?:[^']|'')*)'\s*$/.exec(text) ?? []
    return { name, value: value.replaceAll("''", "'") }
  }).describe('Only items with this value, in any case. A quote in it is written twice.')
}

function orderBy(names: Names) {
  const error = `must be ${oneOf(names)}, and may have asc or desc behind it`
  return option(error, names, text => {
    const [, name = '', direction] = /^\s*(\w+)(?:\s+(asc|desc))?\s*$/.exec(text) ?? []
    return { name, isDescending: direction === 'desc' }
  }).describe(`By id unless given.`)
}

/** An option that is about one property of a few. */
function option<Value extends { name: string }>(
  error: string,
  names: Names,
  parse: (text: string) => Value,
) {
  return z
    .string()
    .max(maxOptionLength)
    .transform(parse)
    .refine(({ name }) => names.includes(name), { error })
}

function selectFrom({ shape }: z.ZodObject) {
  const names = Object.keys(shape).filter(name => name !== etag)
  return z
    .string()
    .max(maxOptionLength)
    .transform(text => text.split(',').map(name => name.trim()))
    .refine(selected => selected.every(name => names.includes(name)), {
      error: `must be names with commas between them, each ${oneOf(names)}`,
    })
    .describe('Only these properties, with commas between them.')
}

function oneOf(names: readonly string[]): string {
  return names.length === 1 ? String(names[0]) : `one of ${names.join(', ')}`
}

type Position = readonly [value: string, id: string]

/**
 * One page of all items. The token is the place of the last one in the order, so that items which come or go between
 * two pages neither repeat nor hide others.
 */
export function page<View extends Item>(
  req: FastifyRequest<{ Querystring: ListQuery }>,
  items: readonly View[],
): { value: Partial<View>[]; '@odata.count'?: number; '@odata.nextLink'?: string } {
  const {
    $filter,
    $orderby = byId,
    $select,
    $top = defaultPageSize,
    $count,
    $skiptoken,
  } = req.query
  const matching = $filter
    ? items.filter(item => valueIn(item, $filter.name) === folded($filter.value))
    : items
  const place = (item: View): Position => [valueIn(item, $orderby.name), item.id]
  const order = ordering($orderby)
  const ordered = matching.toSorted((one, other) => order(place(one), place(other)))
  const after = $skiptoken === undefined ? undefined : fromToken($skiptoken)
  const rest = after ? ordered.filter(item => order(place(item), after) > 0) : ordered
  const shown = rest.slice(0, $top)
  const last = rest.length > shown.length ? shown.at(-1) : undefined
  return {
    ...($count && { '@odata.count': matching.length }),
    ...(last && { '@odata.nextLink': nextLink(req, place(last)) }),
    value: shown.map(item => select(item, $select)),
  }
}

const byId: Order = { name: 'id', isDescending: false }

/** Without case, as Graph compares. */
function folded(text: string): string {
  return text.toLowerCase()
}

function valueIn(item: Item, name: string): string {
  return folded(String(Reflect.get(item, name)))
}

function ordering({ isDescending }: Order): (one: Position, other: Position) => number {
  const sign = isDescending ? -1 : 1
  const compare = (one: string, other: string) => (one === other ? 0 : one < other ? -sign : sign)
  return (one, other) => compare(one[0], other[0]) || compare(one[1], other[1])
}

/** The properties that `$select` names, all without it. */
export function select<View extends object>(
  item: View,
  $select: readonly string[] | undefined,
): Partial<View> {
  if ($select === undefined) return item
  const entries = Object.entries(item).filter(([name]) => name === etag || $select.includes(name))
  return Object.fromEntries(entries) as Partial<View>
}

/** The same question, from a place on. */
function nextLink(req: FastifyRequest, position: Position): string {
  const [path, query] = req.url.split('?')
  const options = new URLSearchParams(query)
  options.set('$skiptoken', Buffer.from(JSON.stringify(position)).toString('base64url'))
  const text = Array.from(options, ([name, value]) => `${name}=${encodeURIComponent(value)}`)
  return `${protocolOf(req)}://${req.host}${path}?${text.join('&')}`
}

/** As the client sees it: TLS ends at whatever stands in front. A link to http would carry the token in clear text. */
function protocolOf(req: FastifyRequest): string {
  const [outer] = String(req.headers['x-forwarded-proto'] ?? '').split(',')
  return outer?.trim().toLowerCase() === 'https' ? 'https' : req.protocol
}

const Token = z.tuple([z.string(), z.string()])

function fromToken(token: string): Position {
  try {
    return Token.parse(JSON.parse(Buffer.from(token, 'base64url').toString('utf8')))
  } catch {
    throw invalid('$skiptoken', 'is not one that this API has given out')
  }
}
