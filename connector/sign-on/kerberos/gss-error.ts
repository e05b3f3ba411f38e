/**
 * Failures of the Kerberos library as reasons. The same code means different things in different calls, so both decide.
 * Codes are com_err's (krb5.h); the library's own texts are often misleading.
 */

import type { SignOnReason } from '../reasons.ts'
import type { Failure } from './protocol.ts'

export type Call =
  | 'gss_import_name'
  | 'gss_acquire_cred_from'
  | 'gss_acquire_cred_impersonate_name'
  | 'gss_init_sec_context'
  | 'gss_inquire'

const codes = {
  [-1765328378]: 'C_PRINCIPAL_UNKNOWN',
  [-1765328377]: 'S_PRINCIPAL_UNKNOWN',
  [-1765328372]: 'POLICY',
  [-1765328371]: 'BADOPTION',
  [-1765328370]: 'ETYPE_NOSUPP',
  [-1765328366]: 'CLIENT_REVOKED',
  [-1765328361]: 'KEY_EXP',
  [-1765328360]: 'PREAUTH_FAILED',
  [-1765328353]: 'BAD_INTEGRITY',
  [-1765328352]: 'TKT_EXPIRED',
  [-1765328351]: 'TKT_NYV',
  [-1765328347]: 'SKEW',
  [-1765328230]: 'REALM_UNKNOWN',
  [-1765328228]: 'KDC_UNREACH',
  [-1765328203]: 'KT_NOTFOUND',
  [-1765328189]: 'FCC_NOFILE',
} as const

type Code = (typeof codes)[keyof typeof codes]
type Reasons = Partial<Record<Code, SignOnReason>>

const inAnyCall: Reasons = {
  KDC_UNREACH: 'kdc_unreachable',
  REALM_UNKNOWN: 'kdc_unreachable',
  SKEW: 'clock_skew',
  TKT_EXPIRED: 'ticket_expired',
  TKT_NYV: 'clock_skew',
  ETYPE_NOSUPP: 'etype_unsupported',
  BAD_INTEGRITY: 'decrypt_failed',
}

const inCall: Partial<Record<Call, Reasons>> = {
  gss_acquire_cred_from: {
    C_PRINCIPAL_UNKNOWN: 'connector_account_unknown',
    CLIENT_REVOKED: 'connector_account_disabled',
    KEY_EXP: 'connector_password_expired',
    PREAUTH_FAILED: 'connector_key_rejected',
    FCC_NOFILE: 'connector_keytab_unusable',
    KT_NOTFOUND: 'connector_keytab_unusable',
  },
  gss_acquire_cred_impersonate_name: {
    C_PRINCIPAL_UNKNOWN: 'user_unknown',
    CLIENT_REVOKED: 'user_disabled',
    POLICY: 'user_disabled',
    KEY_EXP: 'user_disabled',
    S_PRINCIPAL_UNKNOWN: 'connector_has_no_spn',
  },
  gss_init_sec_context: {
    S_PRINCIPAL_UNKNOWN: 'spn_unknown',
    BADOPTION: 'delegation_denied',
    POLICY: 'delegation_denied',
  },
}

/** GSS_S_CREDENTIALS_EXPIRED: said without a minor code. */
const credentialsExpired = 0x000b0000

/** @param minor as the library has it: unsigned. */
export function gssFailure(call: Call, major: number, minor: number, text: string): Failure {
  const signed = minor | 0
  const code = (codes as Record<number, Code>)[signed]
  const isExpired = (major & 0x00ff0000) === credentialsExpired
  const known = isExpired ? 'ticket_expired' : code && (inCall[call]?.[code] ?? inAnyCall[code])
  return {
    reason: known ?? 'gss_failure',
    detail: `${call}: ${text} (major ${major}, minor ${signed})`,
  }
}

/** What a GSS-API call failed with. */
export class GssError extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.detail)
    this.name = 'GssError'
    this.failure = failure
  }
}
