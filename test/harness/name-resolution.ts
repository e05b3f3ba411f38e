/**
 * Loaded into a service by `NODE_OPTIONS=--import …`: the names of SALLYPORT_TEST_HOSTS (`name=address`, separated by
 * commas) resolve to the address given, so that two connectors on one machine see the same host in different places.
 */

import dns from 'node:dns'
import { fileURLToPath } from 'node:url'

const variable = 'SALLYPORT_TEST_HOSTS'

/** The environment of a process in which these names resolve so. */
export function resolving(hosts: Record<string, string>): Record<string, string> {
  const pairs = Object.entries(hosts).map(([name, address]) => `${name}=${address}`)
  return {
    NODE_OPTIONS: `--import=${fileURLToPath(import.meta.url)}`,
    [variable]: pairs.join(','),
  }
}

const { [variable]: given } = process.env
if (given !== undefined) {
  const hosts = new Map(given.split(',').map(pair => pair.split('=') as [string, string]))
  const { lookup } = dns
  const resolved = (name: string, ...rest: unknown[]) =>
    Reflect.apply(lookup, dns, [hosts.get(name) ?? name, ...rest])
  dns.lookup = resolved as typeof dns.lookup
}
