/**
 * A certificate as it came from the registry, checked before anything of it is stored: it is for our own key and for
 * us, and its chain leads to the root that is pinned. Whatever stood between could otherwise have replaced it.
 */

import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto'
import {
  checkChain,
  connectorIn,
  pinnedRoot,
  readChain,
  trustDomainOf,
} from '#infra/certificates.ts'
import type { Issued } from '#infra/contracts/enrolment.ts'
import { SallyportError } from '#infra/errors.ts'
import type { NewIdentity } from './folder.ts'

export interface Expected {
  key: KeyObject
  /** Of the root's public key. */
  pin: string
  enrolUrl: string
  nowMs: number
  /** Unless any will do, which is so at enrolment alone. */
  connectorId?: string
}

/** @throws SallyportError `certificate_invalid` that says what is wrong. */
export function checkIssued(issued: Issued, expected: Expected): NewIdentity {
  const { connectorId, connectorGroupId, busUrls } = issued
  const chain = readChain(issued.certificate)
  const certificate = chain[0] as X509Certificate
  const root = pinnedRoot(chain, expected.pin)
  checkChain({ chain, anchor: root, purpose: 'client', nowMs: expected.nowMs })
  if (!createPublicKey(expected.key).equals(certificate.publicKey))
    throw new SallyportError('certificate_invalid', 'the certificate is for another key')
  const named = connectorIn(certificate, trustDomainOf(root))
  if (named !== connectorId || named !== (expected.connectorId ?? named))
    throw new SallyportError('certificate_invalid', `the certificate is for "${named}"`)
  return { connectorId, connectorGroupId, busUrls, enrolUrl: expected.enrolUrl, chain, root }
}
