/**
 * Names for libkrb5, which reads them: NUL cuts a name, a backslash escapes, a slash makes two components, a second @
 * moves the realm, and an empty realm crashes S4U2Self in MIT 1.20. They come from sign-ins, so only names that are
 * read in one way pass.
 */

import type { Principal } from '#infra/contracts/principal.ts'
import type { KerberosMapping } from '#infra/contracts/sign-on.ts'
import { SignOnFailure } from '../reasons.ts'
import type { KerberosName } from './protocol.ts'

const account = /^[\p{L}\p{N}.!#$%&'*+=?^_`{|}~-]{1,256}$/u
const suffix = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?$/

export const realmPattern = /^[A-Z0-9](?:[A-Z0-9.-]{0,253}[A-Z0-9])?$/

/**
 * Whom the KDC is asked for. A whole user principal name is looked up as such, whatever its suffix; an account name is
 * one of the realm.
 * @throws SignOnFailure `name_invalid`
 */
export function kerberosName(
  mapping: KerberosMapping,
  user: Principal,
  realm: string,
): KerberosName {
  const value = claimed(mapping, user)
  if (value === undefined) throw invalid(`the sign-in has no ${mapping}`)
  const [name = '', host, ...more] = value.split('@')
  const isOne = account.test(name) && more.length === 0
  if (!isOne || (host !== undefined && !suffix.test(host))) throw invalid(`${mapping} is malformed`)
  switch (mapping) {
    case 'userPrincipalName':
    case 'onPremisesUserPrincipalName':
      if (host === undefined) throw invalid(`${mapping} has no suffix`)
      return { name: value, type: 'enterprise' }
    case 'userPrincipalUsername':
    case 'onPremisesUserPrincipalUsername':
      return { name: `${name}@${realm}`, type: 'principal' }
    case 'onPremisesSAMAccountName':
      if (host !== undefined) throw invalid(`${mapping} has a suffix`)
      return { name: `${name}@${realm}`, type: 'principal' }
  }
}

function claimed(mapping: KerberosMapping, { userPrincipalName, claims }: Principal) {
  switch (mapping) {
    case 'userPrincipalName':
    case 'userPrincipalUsername':
      return userPrincipalName
    case 'onPremisesUserPrincipalName':
    case 'onPremisesUserPrincipalUsername':
      return claims?.onPremisesUserPrincipalName?.[0]
    case 'onPremisesSAMAccountName':
      return claims?.onPremisesSamAccountName?.[0]
  }
}

function invalid(detail: string): SignOnFailure {
  return new SignOnFailure('name_invalid', detail)
}

/** Directories take no notice of case; one user has one entry in every cache. */
export function nameKey({ type, name }: KerberosName): string {
  return `${type} ${name.toLowerCase()}`
}

/**
 * Whether a ticket is for the user who was asked for. A KDC may answer a user principal name with the account's own
 * name; never with the connector's.
 */
export function isTicketOf(user: KerberosName, actual: string, service: string): boolean {
  const same = (one: string, other: string) => one.toLowerCase() === other.toLowerCase()
  if (same(actual, service)) return false
  return user.type === 'enterprise' || same(actual, user.name)
}
