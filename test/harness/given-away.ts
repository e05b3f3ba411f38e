/** The ports that Linux gives to whoever connects, or listens at any port. Other systems do not say which those are. */

import { readFile } from 'node:fs/promises'

/** Those of the given ports that anybody may be given at any time. */
export async function givenAway(ports: readonly number[]): Promise<number[]> {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')
  const [first = Number.NaN, last = Number.NaN] = range.trim().split(/\s+/).map(Number)
  return ports.filter(port => !(port < first || port > last))
}
