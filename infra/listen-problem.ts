/** Why a service cannot listen where it was told to, in words that name the variable to change. */

/** `variables`: what comes before `_HOST` and `_PORT` in the names of its variables. */
export function listenProblem(error: unknown, variables: string): string {
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
