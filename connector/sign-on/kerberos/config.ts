/** What a connector's environment says of Kerberos: nothing, or at least a keytab and a realm. */

import { z } from 'zod'
import type { Kdc } from './kdcs.ts'
import { realmPattern } from './names.ts'

const kdc = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(\d{1,5}))?$/

const kerberosPort = 88

export const kerberosVariables = {
  /** Keys of the account that may sign users on; the helper process alone reads it. */
  SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH: z.string().min(1).optional(),
  SALLYPORT_CONNECTOR_KERBEROS_REALM: z
    .string()
    .transform(realm => realm.toUpperCase())
    .refine(realm => realmPattern.test(realm), { error: 'must be a realm, as in CORP.EXAMPLE' })
    .optional(),
  /** Left out, the SRV record `_kerberos._tcp.<realm>` names them. */
  SALLYPORT_CONNECTOR_KERBEROS_KDCS: z
    .string()
    .transform(list => list.split(',').map(each => each.trim()))
    .refine(list => list.every(each => kdc.test(each)), {
      error: 'must be host:port, several separated by commas',
    })
    .transform(list => list.map(kdcOf))
    .optional(),
  SALLYPORT_CONNECTOR_KERBEROS_PRINCIPAL: z
    .string()
    .regex(
      /^[A-Za-z0-9._$/-]+@[A-Z0-9.-]+$/,
      'must be a principal, as in svc-sallyport@CORP.EXAMPLE',
    )
    .optional(),
}

type Variables = {
  [Name in keyof typeof kerberosVariables]?: z.output<(typeof kerberosVariables)[Name]>
}

/** One without the other cannot be meant. */
export function isKerberosWhole(env: Variables): boolean {
  const { SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH: keytab } = env
  return (keytab === undefined) === (env.SALLYPORT_CONNECTOR_KERBEROS_REALM === undefined)
}

export interface KerberosConfig {
  readonly keytabPath: string
  readonly realm: string
  readonly kdcs: readonly Kdc[] | undefined
  readonly principal: string | undefined
}

export function kerberosConfig(env: Variables): KerberosConfig | undefined {
  const { SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH: keytabPath } = env
  const { SALLYPORT_CONNECTOR_KERBEROS_REALM: realm } = env
  if (keytabPath === undefined || realm === undefined) return undefined
  return {
    keytabPath,
    realm,
    kdcs: env.SALLYPORT_CONNECTOR_KERBEROS_KDCS,
    principal: env.SALLYPORT_CONNECTOR_KERBEROS_PRINCIPAL,
  }
}

function kdcOf(text: string): Kdc {
  const [, host = '', port] = kdc.exec(text) ?? []
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port ?? kerberosPort) }
}
