/**
 * A bearer value of an id and a key. What it stands for lies in a bucket under a hash of the id, encrypted with the
 * key (JWE, direct encryption with A256GCM): who holds the bucket alone holds nothing.
 */

import { hash, randomBytes } from 'node:crypto'
import { CompactEncrypt, compactDecrypt } from 'jose'
import type { z } from 'zod'

const pattern = /^([\w-]{22})\.([\w-]{43})$/

export interface Ticket {
  /** What the browser gets: 66 characters. */
  readonly value: string
  /** Key in the bucket. */
  readonly recordKey: string
  /** What goes into the bucket. */
  readonly sealed: string
}

export async function newTicket(record: unknown): Promise<Ticket> {
  const id = randomBytes(16).toString('base64url')
  const key = randomBytes(32)
  const sealed = await new CompactEncrypt(Buffer.from(JSON.stringify(record)))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
    .encrypt(key)
  return { value: `${id}.${key.toString('base64url')}`, recordKey: recordKey(id), sealed }
}

/** Key in the bucket; undefined for a value of another form. */
export function recordKeyOf(value: string): string | undefined {
  const [, id] = pattern.exec(value) ?? []
  return id === undefined ? undefined : recordKey(id)
}

/** The record, or undefined for anything that this value does not open or that is not of the schema. */
export async function openTicket<Schema extends z.ZodType>(
  value: string,
  sealed: string,
  schema: Schema,
): Promise<z.output<Schema> | undefined> {
  const [, , key] = pattern.exec(value) ?? []
  if (key === undefined) return undefined
  try {
    const { plaintext } = await compactDecrypt(sealed, Buffer.from(key, 'base64url'), {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: ['A256GCM'],
    })
    return schema.safeParse(JSON.parse(Buffer.from(plaintext).toString('utf8'))).data
  } catch {
    return undefined
  }
}

function recordKey(id: string): string {
  return hash('sha256', id, 'base64url')
}
