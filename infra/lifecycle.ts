/** From start to exit: signals dispose the service in reverse order, and the process leaves by an empty event loop. */

import { ConfigurationError } from './config.ts'

/** What every `startX` returns. */
export interface Service extends AsyncDisposable {
  /** Addresses and names that came about at start (free ports, generated ids), for the parent process. */
  readonly details: Record<string, unknown>
  /** How long its own work may take to finish after a signal; left out, it stops at once. */
  readonly drainMs?: number
}

/** After a signal the process is ended by force when disposing takes so much longer than the service's own work. */
const forcedExitMs = 10_000

/** Exit status of a process that could not use its configuration (sysexits EX_CONFIG). */
export const exitConfiguration = 78

/**
 * Starts a service and disposes it at SIGINT, SIGTERM, or when the parent process is gone (the channel to it
 * closes). A forked service tells its parent `{ ready: details }`. A failed start prints its reason in one message
 * and sets the exit status.
 */
export async function run(start: (signal: AbortSignal) => Promise<Service>): Promise<void> {
  const stopping = new AbortController()
  const stopped = untilStopped(stopping)
  try {
    const service = await Promise.race([start(stopping.signal), stopped])
    if (!service) process.exit(0)
    process.send?.({ ready: service.details })
    await stopped
    forceExit(service.drainMs ?? 0)
    await service[Symbol.asyncDispose]()
    if (process.connected) process.disconnect()
  } catch (error) {
    if (stopping.signal.aborted) process.exit(0)
    process.stderr.write(`${failure(error)}\n`)
    process.exit(error instanceof ConfigurationError ? exitConfiguration : 1)
  }
}

function forceExit(drainMs: number): void {
  setTimeout(() => process.exit(1), drainMs + forcedExitMs).unref()
}

function untilStopped(stopping: AbortController): Promise<undefined> {
  return new Promise(resolve => {
    const stop = () => {
      if (stopping.signal.aborted) return
      stopping.abort(new Error('stopping'))
      resolve(undefined)
    }
    process.on('SIGINT', stop).on('SIGTERM', stop)
    if (process.channel) process.once('disconnect', stop)
  })
}

function failure(error: unknown): string {
  if (error instanceof ConfigurationError) return error.message
  if (!(error instanceof Error)) return String(error)
  const causes: string[] = []
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    causes.push(cause.message)
  return [error.message, ...causes].join('\n  because: ')
}
