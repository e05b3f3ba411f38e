/** Methods that an application, or an endpoint of our own, takes, and the refusal that names them (RFC 9110 §15.5.6). */

import type { Application } from '#infra/contracts/application.ts'
import { allowHeader, allowsMethod } from '#infra/contracts/http-methods.ts'
import { SallyportError } from '#infra/errors.ts'

export class MethodNotAllowed extends SallyportError {
  /** Value of the header Allow. */
  readonly allow: string
  constructor(method: string, allow: string) {
    super('method_not_allowed', `${method} is not among ${allow}`)
    this.allow = allow
  }
}

/** @throws MethodNotAllowed when the application does not take this method. */
export function requireMethod({ onPremisesPublishing }: Application, method: string): void {
  const { allowedHttpMethods } = onPremisesPublishing
  if (allowsMethod(allowedHttpMethods, method)) return
  throw new MethodNotAllowed(method, allowHeader(allowedHttpMethods))
}
