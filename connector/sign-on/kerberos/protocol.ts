/**
 * What the connector and its Kerberos helper say to each other over the channel of the child process. The helper alone
 * opens the keytab and talks to the KDC; ticket bytes leave it only as tokens for one request each.
 */

import type { SignOnReason } from '../reasons.ts'

/** A user as the KDC is asked for them: `alice@REALM`, or a user principal name of whatever suffix. */
export interface KerberosName {
  readonly name: string
  readonly type: 'principal' | 'enterprise'
}

export type TokenFormat = 'spnego' | 'kerberos'

export interface HelperOptions {
  readonly keytabPath: string
  /** Which key of the keytab; the first one when left out. */
  readonly principal?: string
  readonly realm: string
  /** Users whose tickets are kept, and for how long at most. */
  readonly maxUsers: number
  readonly maxAgeMs: number
  /** A ticket that ends within this time is renewed. */
  readonly marginMs: number
  /** Calls that may wait for the KDC at the same time. */
  readonly lanes: number
}

export interface Failure {
  readonly reason: SignOnReason
  /** GSS-API function, major and minor code, as far as there is one. */
  readonly detail: string
}

interface Question {
  readonly id: number
}

export type ToHelper =
  | { readonly type: 'start'; readonly options: HelperOptions }
  /** Whether the keytab can be used at all. */
  | (Question & { readonly type: 'check'; readonly timeoutMs: number })
  | (Question & {
      readonly type: 'token'
      readonly user: KerberosName
      readonly spn: string
      readonly format: TokenFormat
      readonly timeoutMs: number
    })
  | (Question & { readonly type: 'verify'; readonly context: number; readonly reply: Uint8Array })
  | { readonly type: 'release'; readonly context: number }
  | { readonly type: 'forget'; readonly user: KerberosName; readonly isServiceToo: boolean }
  /** While no KDC answers nobody waits for one: only cached tickets are used. */
  | { readonly type: 'network'; readonly isUp: boolean }
  /** What the clock of the KDC shows now. */
  | { readonly type: 'clock'; readonly kdcTimeMs: number }

export type FromHelper =
  | (Question & { readonly type: 'checked'; readonly principal: string })
  | (Question & { readonly type: 'token'; readonly token: Uint8Array; readonly context: number })
  /** Undefined when the context is not known any more. */
  | (Question & { readonly type: 'verified'; readonly isGenuine: boolean | undefined })
  | (Question & { readonly type: 'failed'; readonly failure: Failure })
