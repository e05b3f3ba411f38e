/** What the stock list's interface is, for programs that read OpenAPI. Its schemas are the ones it validates with. */

import { z } from 'zod'
import { Item, ItemPatch } from './items.ts'

const json = (schema: object) => ({ content: { 'application/json': { schema } } })
const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` })
const problem = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: reference('Problem') } },
})
const id = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
const ifMatch = {
  name: 'If-Match',
  in: 'header',
  required: true,
  schema: { type: 'string' },
  description:
    'The ETag that you read; the change is refused when the item has another one by now.',
}
const stored = { description: 'The item, with its ETag', ...json(reference('StoredItem')) }
const page = (name: string, standard: number) => ({
  name,
  in: 'query',
  schema: { type: 'integer', default: standard },
})

export const openApi = {
  openapi: '3.1.0',
  info: { title: 'Inventory', version: '1.0.0', description: 'Parts on our shelves.' },
  paths: {
    '/items': {
      get: {
        summary: 'A page of items',
        parameters: [page('limit', 10), page('offset', 0)],
        responses: { 200: { description: 'Items, with Link headers', ...json(reference('Page')) } },
      },
      post: {
        summary: 'Add an item',
        requestBody: { required: true, ...json(reference('Item')) },
        responses: { 201: stored, 400: problem('The item is not valid') },
      },
    },
    '/items/{id}': {
      parameters: [id],
      get: { summary: 'One item', responses: { 200: stored, 404: problem('No such item') } },
      put: change('Replace an item', 'Item'),
      patch: change('Change some properties', 'ItemPatch'),
      delete: {
        summary: 'Remove an item',
        parameters: [ifMatch],
        responses: { 204: { description: 'Removed' }, 412: problem('Changed meanwhile') },
      },
    },
    '/whoami': { get: { summary: 'Who the proxy says you are', responses: { 200: json({}) } } },
  },
  components: {
    schemas: {
      Item: schemaOf(Item),
      ItemPatch: schemaOf(ItemPatch),
      StoredItem: {
        allOf: [
          reference('Item'),
          { type: 'object', properties: { id: { type: 'string' }, version: { type: 'integer' } } },
        ],
      },
      Page: {
        type: 'object',
        properties: {
          items: { type: 'array', items: reference('StoredItem') },
          total: { type: 'integer' },
        },
      },
      Problem: {
        type: 'object',
        properties: {
          type: { type: 'string' },
          title: { type: 'string' },
          status: { type: 'integer' },
          detail: { type: 'string' },
        },
      },
    },
  },
}

function change(summary: string, schema: string) {
  return {
    summary,
    parameters: [ifMatch],
    requestBody: { required: true, ...json(reference(schema)) },
    responses: {
      200: stored,
      404: problem('No such item'),
      412: problem('Changed meanwhile'),
      428: problem('If-Match is missing'),
    },
  }
}

function schemaOf(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema)
  return rest
}
