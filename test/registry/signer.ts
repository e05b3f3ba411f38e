/** Somebody who signs what the registry states, for tests that do not look at the signature. */

import { generateKeyPairSync } from 'node:crypto'
import type { StatementSigner } from '#infra/statement.ts'

export function testSigner(): StatementSigner {
  return { chain: [], key: generateKeyPairSync('ed25519').privateKey }
}
