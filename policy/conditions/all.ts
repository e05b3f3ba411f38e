/** Every condition; the cheap and selective ones first. A policy applies when none of them says no. */

import { applications } from './applications.ts'
import { authenticationFlows } from './authentication-flows.ts'
import { clientAppTypes } from './client-app-types.ts'
import type { Condition } from './condition.ts'
import { devices } from './devices.ts'
import { facts } from './facts.ts'
import { httpMethods } from './http-methods.ts'
import { locations } from './locations.ts'
import { platforms } from './platforms.ts'
import { signInRisk } from './sign-in-risk.ts'
import { times } from './times.ts'
import { userRisk } from './user-risk.ts'
import { users } from './users.ts'

export const conditions: readonly Condition[] = [
  applications,
  clientAppTypes,
  httpMethods,
  platforms,
  signInRisk,
  userRisk,
  authenticationFlows,
  users,
  locations,
  devices,
  facts,
  times,
]
