/** How a command ends when it does not end well: one readable message, and an exit status that scripts can rely on. */

import { detailOf } from '#infra/errors.ts'

/** 1: refused or failed. */
export class CommandFailure extends Error {
  override name = 'CommandFailure'
  readonly exitStatus: number = 1
}

/** 2: called in a wrong way. */
export class UsageError extends CommandFailure {
  override name = 'UsageError'
  override readonly exitStatus = 2
}

/** Prints the reason and sets the exit status; the process ends when its output has been written. */
export function report(error: unknown): void {
  process.stderr.write(`sallyport: ${detailOf(error)}\n`)
  process.exitCode = error instanceof CommandFailure ? error.exitStatus : 1
}
