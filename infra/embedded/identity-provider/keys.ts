/**
 * The provider's signing key and cookie keys, made once and kept, so that tokens and sessions outlive a restart.
 * The files are for their owner alone (0600); a damaged one is an error that names it, never a silent new key.
 */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import { z } from 'zod'
import { createFolder, readIfThere, replaceFile } from '../../files.ts'

const ProviderKeys = z.object({
  signingKeys: z.array(z.looseObject({ kty: z.literal('RSA'), d: z.string() })).min(1),
  cookieKeys: z.array(z.string().min(32)).min(1),
})
export type ProviderKeys = z.output<typeof ProviderKeys>

export async function openKeys(directory: string): Promise<ProviderKeys> {
  await createFolder(directory)
  const path = join(directory, 'keys.json')
  const text = await readIfThere(path)
  if (text !== undefined) return parseKeys(text, path)
  const keys = await createKeys()
  await replaceFile(path, JSON.stringify(keys))
  return keys
}

function parseKeys(text: string, path: string): ProviderKeys {
  try {
    return ProviderKeys.parse(JSON.parse(text))
  } catch (cause) {
    const advice = 'restore it, or delete it to have new keys made (everybody signs in again)'
    throw new Error(`${path} does not hold the keys of the identity provider: ${advice}`, { cause })
  }
}

async function createKeys(): Promise<ProviderKeys> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  const jwk = await exportJWK(privateKey)
  const kid = await calculateJwkThumbprint(jwk)
  return ProviderKeys.parse({
    signingKeys: [{ ...jwk, kid, alg: 'RS256', use: 'sig' }],
    cookieKeys: [randomBytes(32).toString('base64url')],
  })
}
