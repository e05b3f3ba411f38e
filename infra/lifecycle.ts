/** From start to exit: signals dispose the service in reverse order, and the process leaves by an empty event loop. */

import { ConfigurationError } from './config.ts'
import { keepHeap } from './heap.ts'
import { takeTurns } from './scheduling.ts'

/** What every `startX` returns. */
export interface Service extends AsyncDisposable {
  /** Addresses and names that came about at start (free ports, generated ids), for the parent process. */
  readonly details: Record<string, unknown>
  /** How long its own work may take to finish after a signal; left out, it stops at once. */
  readonly drainMs?: number
  /** Rejects when the service has to end by itself. */
  readonly ended?: Promise<never>
}

/** There is nothing to do any more, and starting again does not change it: only a person can. */
export class EndedForGood extends Error {
  override name = 'EndedForGood'
}

/** After a signal the process is ended by force when disposing takes so much longer than the service's own work. */
const forcedExitMs = 10_000

/** Exit status of a process that could not use its configuration (sysexits EX_CONFIG). */
export const exitConfiguration = 78

/** Exit status of a connector that was removed (sysexits EX_NOPERM): it is not to be started again. */
export const exitRemoved = 77

/**
 * Starts a service and disposes it at SIGINT, SIGTERM, when the parent process is gone (the channel to it closes), or
 * when it has to end by itself. A forked service tells its parent `{ ready: details }`. A failed start, and such an end,
 * print their reason in one message and set the exit status.
 */
export async function run(start: (signal: AbortSignal) => Promise<Service>): Promise<void> {
  keepHeap()
  const stopping = new AbortController()
  const stopped = untilStopped(stopping)
  await takeTurns()
  try {
    const service = await Promise.race([start(stopping.signal), stopped])
    if (!service) process.exit(0)
    process.send?.({ ready: service.details })
    const end = Promise.race([stopped, service.ended ?? stopped])
    const failure = await end.catch((error: unknown) => error)
    if (failure !== undefined) return await leave(service, failure)
    forceExit(service.drainMs ?? 0, 1)
    await service[Symbol.asyncDispose]()
    if (process.connected) process.disconnect()
  } catch (error) {
    if (stopping.signal.aborted) process.exit(0)
    say(error)
    process.exit(exitStatusOf(error))
  }
}

/** Why it ended is worth more than what goes wrong after that, and is said first: disposing may last, or never end. */
async function leave(service: Service, failure: unknown): Promise<never> {
  say(failure)
  const exitStatus = exitStatusOf(failure)
  forceExit(service.drainMs ?? 0, exitStatus)
  await Promise.resolve(service[Symbol.asyncDispose]()).catch(() => undefined)
  process.exit(exitStatus)
}

function say(error: unknown): void {
  process.stderr.write(`${messageOf(error)}\n`)
}

function exitStatusOf(error: unknown): number {
  if (error instanceof ConfigurationError) return exitConfiguration
  return error instanceof EndedForGood ? exitRemoved : 1
}

function forceExit(drainMs: number, exitStatus: number): void {
  setTimeout(() => process.exit(exitStatus), drainMs + forcedExitMs).unref()
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

function messageOf(error: unknown): string {
  if (error instanceof ConfigurationError || error instanceof EndedForGood) return error.message
  if (!(error instanceof Error)) return String(error)
  const causes: string[] = []
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause)
    causes.push(cause.message)
  return [error.message, ...causes].join('\n  because: ')
}
