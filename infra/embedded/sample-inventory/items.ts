/**
 * The stock list: items in memory, bounded, each with a version that changes with every change, so that a writer
 * who read an older one is refused (RFC 9110 §13.1.1).
 */

import { z } from 'zod'

export const Item = z.strictObject({
  name: z.string().trim().min(1).max(120),
  quantity: z.number().int().min(0).max(1_000_000),
  shelf: z.string().regex(/^[A-Z]\d{1,3}$/, 'must be a letter and up to three digits, as in B12'),
  note: z.string().max(500).optional(),
})
export type Item = z.output<typeof Item>

/** RFC 7396 for flat items: a member that is given replaces, null removes. */
export const ItemPatch = z.strictObject({
  name: Item.shape.name.optional(),
  quantity: Item.shape.quantity.optional(),
  shelf: Item.shape.shelf.optional(),
  note: Item.shape.note.nullable(),
})

export interface StoredItem extends Item {
  id: string
  version: number
}

const maxItems = 5_000

export interface Stock {
  list(): StoredItem[]
  find(id: string): StoredItem | undefined
  /** Undefined when the list is full. */
  add(item: Item): StoredItem | undefined
  replace(id: string, item: Item): StoredItem
  remove(id: string): void
}

export function openStock(): Stock {
  const items = new Map<string, StoredItem>()
  let lastId = 0
  const stock: Stock = {
    list: () => [...items.values()],
    find: id => items.get(id),
    add(item) {
      if (items.size >= maxItems) return undefined
      lastId += 1
      return stock.replace(String(lastId), item)
    },
    replace(id, item) {
      const stored = { id, ...item, version: (items.get(id)?.version ?? 0) + 1 }
      items.set(id, stored)
      return stored
    },
    remove: id => void items.delete(id),
  }
  for (const [name, quantity, shelf] of firstItems) stock.add({ name, quantity, shelf })
  return stock
}

const firstItems: readonly [string, number, string][] = [
  ['Aneroid capsule, 60 mm', 240, 'A3'],
  ['Brass bezel, 150 mm', 85, 'A7'],
  ['Wind cup, aluminium', 412, 'B2'],
  ['Thermistor, 10 kΩ', 1_900, 'C11'],
  ['Glass dome, anti-reflection', 36, 'D1'],
  ['Rain gauge funnel', 58, 'D4'],
  ['Bearing, stainless 4 mm', 730, 'B9'],
  ['Chart paper, weekly roll', 144, 'E2'],
  ['Walnut case, unfinished', 19, 'F1'],
  ['Calibration weight set', 7, 'C1'],
  ['Mast clamp, galvanised', 61, 'E8'],
  ['Sealing ring, silicone', 2_400, 'A12'],
]
