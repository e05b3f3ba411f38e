/** The options of `publish` that say how long an application may be silent. What is out of bounds, the system refuses. */

import { type Command, InvalidArgumentError, Option } from 'commander'
import type { OnPremisesPublishing } from '#infra/contracts/application.ts'

/** `default` takes back what was set. */
export type Whole = number | 'default'

const seconds = whole('seconds')

export interface TimeoutOptions {
  timeout?: 'default' | 'long'
  connectTimeout?: Whole
  firstByteTimeout?: Whole
  idleTimeout?: Whole
  streamIdleTimeout?: Whole
}

export function withTimeouts(command: Command): Command {
  const name = new Option(
    '--timeout <name>',
    'silence that is allowed unless set below: default is 85 s, long is 180 s',
  )
  return command
    .addOption(name.choices(['default', 'long']))
    .option('--connect-timeout <seconds>', 'until a connection is there (10)', seconds)
    .option('--first-byte-timeout <seconds>', 'from the request to the answer', seconds)
    .option('--idle-timeout <seconds>', 'without a byte either way in a body', seconds)
    .option(
      '--stream-idle-timeout <seconds>',
      'the same for WebSockets, event streams and gRPC (no limit)',
      seconds,
    )
}

/** Properties of onPremisesPublishing; those that were not given are undefined, and so no part of a JSON body. */
export function timeoutsOf(options: TimeoutOptions) {
  return {
    applicationServerTimeout: options.timeout,
    connectTimeoutInSeconds: orNull(options.connectTimeout),
    firstByteTimeoutInSeconds: orNull(options.firstByteTimeout),
    idleTimeoutInSeconds: orNull(options.idleTimeout),
    streamIdleTimeoutInSeconds: orNull(options.streamIdleTimeout),
  }
}

/** For `show`: those that were set. */
export function timeoutLines(publishing: Timeouts): string[] {
  const set = [
    ...(publishing.applicationServerTimeout === 'long' ? ['long'] : []),
    ...[
      ['connect', publishing.connectTimeoutInSeconds] as const,
      ['first byte', publishing.firstByteTimeoutInSeconds] as const,
      ['idle', publishing.idleTimeoutInSeconds] as const,
      ['quiet streams', publishing.streamIdleTimeoutInSeconds] as const,
    ].flatMap(([name, value]) => (value === null ? [] : [`${name} ${value} s`])),
  ]
  return set.length > 0 ? [`  time-outs        ${set.join(', ')}`] : []
}

type Timeouts = Pick<
  OnPremisesPublishing,
  | 'applicationServerTimeout'
  | 'connectTimeoutInSeconds'
  | 'firstByteTimeoutInSeconds'
  | 'idleTimeoutInSeconds'
  | 'streamIdleTimeoutInSeconds'
>

export function whole(unit: 'seconds' | 'minutes') {
  return (value: string): Whole => {
    if (value === 'default') return value
    if (/^\d{1,9}$/.test(value)) return Number(value)
    throw new InvalidArgumentError(`Write whole ${unit}, or default.`)
  }
}

function orNull(value: Whole | undefined): number | null | undefined {
  return value === 'default' ? null : value
}
