/**
 * Why a service cannot listen where it was told to, in words that name the variable to change. It ends with status 1,
 * and not as one that cannot use its configuration, which nobody starts again: whoever has the port may be about to end.
 */

import { SallyportError } from './errors.ts'

interface Place {
  host: string
  port: number
  /** What comes before `_HOST` and `_PORT` in the names of its variables. */
  variables: string
}

/** What it ends with: of any of its ports. */
export function cannotListen(cause: unknown, { host, port, variables }: Place): SallyportError {
  const reason = reasonOf(cause, variables)
  return new SallyportError('internal', `cannot listen on ${host}:${port}: ${reason}`, { cause })
}

function reasonOf(error: unknown, variables: string): string {
  const { code = 'unknown error' } = error as NodeJS.ErrnoException
  switch (code) {
    case 'EADDRINUSE':
      return `another program uses this port; stop it, or set ${variables}_PORT to another one`
    case 'EACCES':
      return `this user may not open this port; set ${variables}_PORT to one from 1024 on`
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `this machine has no such address; set ${variables}_HOST to one that it has`
    default:
      return `${code}; look at ${variables}_HOST and ${variables}_PORT`
  }
}
