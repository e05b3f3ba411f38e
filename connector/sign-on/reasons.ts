/**
 * Why signing a user on can fail, by names that stay: for audit, connector status and logs, with what the administrator
 * has to do. Users see none of it.
 */

import { detailOf, type FaultCode } from '#infra/errors.ts'

interface Reason {
  readonly advice: string
  /** It lies with this connector or its way to the KDC: another member of the group may succeed. */
  readonly isOurs?: true
}

export const signOnReasons = {
  kdc_unreachable: {
    advice:
      'No KDC of the realm answers this connector. Check SALLYPORT_CONNECTOR_KERBEROS_KDCS or the SRV record _kerberos._tcp of the realm, and that TCP port 88 is open.',
    isOurs: true,
  },
  kdc_timeout: {
    advice: 'The KDC takes connections and does not answer in time. Look at the domain controller.',
    isOurs: true,
  },
  connector_keytab_unusable: {
    advice:
      'The keytab cannot be read or has no key of the account. Check SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH, its owner and mode, and SALLYPORT_CONNECTOR_KERBEROS_PRINCIPAL.',
    isOurs: true,
  },
  connector_key_rejected: {
    advice:
      'The KDC refuses the key of the keytab: the password of the account was changed later. Export the keytab again.',
    isOurs: true,
  },
  connector_account_unknown: {
    advice:
      'The directory has no account of the name that the keytab holds. Check account name and realm.',
    isOurs: true,
  },
  connector_account_disabled: {
    advice: "The connector's account is disabled or locked. Enable it.",
    isOurs: true,
  },
  connector_password_expired: {
    advice:
      "The password of the connector's account has expired. Let it never expire, set it anew and export the keytab again.",
    isOurs: true,
  },
  connector_has_no_spn: {
    advice:
      "The connector's account has no service principal name of its own, without which it may not ask in the name of users: setspn -S sallyport/CONNECTOR ACCOUNT.",
    isOurs: true,
  },
  clock_skew: {
    advice: 'The clocks of connector and KDC are too far apart. Set them by NTP.',
    isOurs: true,
  },
  ticket_expired: {
    advice:
      'A ticket had ended before it was used: the clock of the connector is wrong. Set it by NTP.',
    isOurs: true,
  },
  library_missing: {
    advice:
      'The Kerberos library of the system cannot be loaded. Install libgssapi-krb5-2 (Debian, Ubuntu) or krb5-libs (RHEL).',
    isOurs: true,
  },
  helper_exited: {
    advice:
      'The Kerberos helper of the connector ended unexpectedly and is started again. See its log.',
    isOurs: true,
  },
  not_configured: {
    advice:
      'This connector has no keytab. Set SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH and _REALM on every connector of the group.',
    isOurs: true,
  },
  user_unknown: {
    advice:
      "The directory has no user of this name. Check kerberosSignOnMappingAttributeType and the user's userPrincipalName or sAMAccountName.",
  },
  user_disabled: {
    advice: 'The user is disabled, locked or expired in the directory, or may not sign in now.',
  },
  spn_unknown: {
    advice:
      'No account has the service principal name of the application. Check kerberosServicePrincipalName, and setspn -Q SPN.',
  },
  delegation_denied: {
    advice:
      "The KDC refuses the delegation. Check, in this order: the SPN is in msDS-AllowedToDelegateTo of the connector's account; that account is trusted for delegation with any authentication protocol; the user is not marked as sensitive and not to be delegated, nor a Protected User.",
  },
  etype_unsupported: {
    advice:
      'Account and KDC share no encryption type. Allow AES for the account (msDS-SupportedEncryptionTypes 24) and export the keytab again.',
  },
  decrypt_failed: {
    advice:
      'An answer of the KDC cannot be decrypted: the key has changed. Export the keytab again.',
  },
  ticket_refused: {
    advice:
      "The application refuses the ticket twice. Check that its service runs as the account that has the SPN, and the application's own log.",
  },
  origin_not_genuine: {
    advice:
      'The application could not prove that it has the key of its SPN. Somebody else may be answering at the internal URL.',
  },
  name_invalid: {
    advice:
      "The user's name has characters that no directory name may have, or is missing from the sign-in. Check kerberosSignOnMappingAttributeType and SALLYPORT_POLICY_CLAIMS.",
  },
  identity_mismatch: {
    advice: 'The KDC gave a ticket for somebody else than was asked for. Nothing was sent.',
  },
  claim_unusable: {
    advice:
      'A claim cannot be made a header: it has control characters, is too long, or its regular expression takes too long.',
  },
  assertion_missing: {
    advice:
      'The access lease carries no assertion: policy has not heard of the setting yet, or is of an older version.',
  },
  not_supported: {
    advice: 'The connection carries more requests than can be signed on to one by one.',
  },
  gss_failure: {
    advice: 'The Kerberos library failed in a way that is not known here. See the codes.',
  },
} as const satisfies Record<string, Reason>

export type SignOnReason = keyof typeof signOnReasons

/** A user could not be signed on. The message says everything that an administrator needs. */
export class SignOnFailure extends Error {
  readonly reason: SignOnReason
  constructor(reason: SignOnReason, detail: string, options?: ErrorOptions) {
    super(detail, options)
    this.name = 'SignOnFailure'
    this.reason = reason
  }

  get advice(): string {
    return signOnReasons[this.reason].advice
  }

  /** Another connector of the group may succeed. */
  get isOurs(): boolean {
    return (signOnReasons[this.reason] as Reason).isOurs === true
  }

  get fault(): FaultCode {
    return this.isOurs ? 'sign_on_unavailable' : 'sign_on_failed'
  }
}

/** Anything else is a mistake of ours, and goes on as one. */
export function asFailure(error: unknown): SignOnFailure {
  if (error instanceof SignOnFailure) return error
  const detail = detailOf(error)
  return new SignOnFailure('gss_failure', detail, { cause: error })
}
