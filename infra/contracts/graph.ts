/**
 * How bodies in Microsoft Graph's form are read. A property that we enforce has a schema; one that Graph knows and we do
 * not enforce loads as long as it asks for nothing and is refused by name as soon as it does; an unknown one is refused
 * by name (strict objects). Settings that are silently ignored are worse than none.
 */

import { z } from 'zod'

type Nothing = (value: unknown) => boolean

const isEmpty: Nothing = value =>
  value === undefined ||
  value === null ||
  value === false ||
  value === '' ||
  value === 'none' ||
  (typeof value === 'object' && Object.values(value).every(isEmpty))

/** An object that only says of what type it would be is empty too. */
export const saysNothing: Nothing = value => isEmpty(withoutAnnotations(value))

/** A property that Graph knows and that would change what we do, if we did it. */
export const notEnforced = (says: string, isHarmless: Nothing = saysNothing) =>
  z
    .unknown()
    .refine(isHarmless, { error: `is not enforced by Sallyport yet: ${says}` })
    .optional()
    .describe(`Known from Microsoft Graph, not enforced yet: ${says}.`)

export const onlyEmpty = 'leave it out or empty'
export const onlyFalse = 'leave it out or false'

/** A control of a session that says whether it is enabled: harmless while it is not. */
export const notEnforcedControl = notEnforced(
  'leave it out, null or isEnabled false',
  value =>
    saysNothing(value) ||
    (typeof value === 'object' && Reflect.get(value ?? {}, 'isEnabled') === false),
)

/** OData annotations (`@odata.type`, `@odata.etag`) may stand in every object; they are dropped. */
export function annotated<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess(withoutAnnotations, schema)
}

export function withoutAnnotations(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([name]) => !name.includes('@odata.')))
}

const maxNames = 5_000

const text = z.string().trim().min(1).max(512)

/** A list of names or ids; null and left out are the empty list. */
export const Names = z
  .array(text, { error: 'must be a list of names' })
  .max(maxNames, { error: `must be at most ${maxNames} names` })
  .nullish()
  .transform(names => names ?? [])

/**
 * One of Graph's words, in any case. `known` are words of Graph that we do not enforce: they are refused by name.
 */
export function word<const Word extends string>(
  words: readonly Word[],
  known: readonly string[] = [],
) {
  return z.string().transform((value, ctx): Word => {
    const isSame = (other: string) => other.toLowerCase() === value.toLowerCase()
    const found = words.find(isSame)
    if (found !== undefined) return found
    const message = known.some(isSame)
      ? `"${value}" is not enforced by Sallyport yet: choose among ${words.join(', ')}`
      : `must be one of ${words.join(', ')}`
    ctx.addIssue({ code: 'custom', message })
    return z.NEVER
  })
}

/** A list of Graph's words; null and left out are the empty list. */
export function wordList<const Word extends string>(
  words: readonly Word[],
  known: readonly string[] = [],
) {
  return z
    .array(word(words, known))
    .max(64)
    .nullish()
    .transform(list => [...new Set(list ?? [])])
}

/** A flags enumeration, which Graph writes as words with commas between them. */
export function flags<const Word extends string>(words: readonly Word[]) {
  const one = word(words)
  return z
    .string()
    .nullish()
    .transform((value, ctx) => {
      const items = flagsOf(value ?? '').map(item => one.safeParse(item))
      const bad = items.find(item => !item.success)
      if (bad) {
        ctx.addIssue({ code: 'custom', message: bad.error.issues[0]?.message ?? 'is unknown' })
        return z.NEVER
      }
      return [...new Set(items.map(item => item.data))].join(',')
    })
}

/** The words of a flags enumeration. */
export function flagsOf(value: string): string[] {
  const items = value.split(',').map(item => item.trim())
  return items.filter(item => item !== '' && item.toLowerCase() !== 'none')
}

/** An object that may be left out; left out is null. */
export function orNull<Schema extends z.ZodType>(schema: Schema) {
  return schema.nullish().transform(value => value ?? null)
}
