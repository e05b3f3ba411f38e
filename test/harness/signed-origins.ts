/** The connector's way to origins with sign-on, without a bus: requests in the name of users whose lease is made up. */

import type { Readable } from 'node:stream'
import type { Application } from '#infra/contracts/application.ts'
import type { LeaseClaims } from '#infra/contracts/policy.ts'
import type { Principal } from '#infra/contracts/principal.ts'
import { createLogger } from '#infra/log.ts'
import { createDialer } from '../../connector/dial.ts'
import type { OriginSink } from '../../connector/origin.ts'
import { openOrigins } from '../../connector/origins.ts'
import type { KerberosConfig } from '../../connector/sign-on/kerberos/config.ts'
import { openSignOn } from '../../connector/sign-on/sign-on.ts'
import { withSignOn } from '../../connector/sign-on/signed-origins.ts'

export interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: readonly string[]
  readonly body?: Buffer | Readable
  readonly user?: Partial<Principal>
  readonly claims?: Partial<LeaseClaims>
}

export interface Answered {
  readonly status: number
  readonly headers: readonly string[]
  header(name: string): string | undefined
  readonly text: string
}

export interface SignedOrigins extends AsyncDisposable {
  /** Rejects with the connector's own error. */
  ask(application: Application, asked?: Asked): Promise<Answered>
  problems(): readonly string[]
}

export async function openSignedOrigins(kerberos?: KerberosConfig): Promise<SignedOrigins> {
  const signOn = await openSignOn(kerberos, createLogger('test', 'silent'))
  const plain = openOrigins(64, createDialer({ refusesLoopback: false }))
  const origins = withSignOn(plain, signOn)
  return {
    problems: () => signOn.problems.list(),
    ask(application, { method = 'GET', path = '/', headers = [], body, user, claims } = {}) {
      const { promise, resolve, reject } = Promise.withResolvers<Answered>()
      const request = {
        method,
        target: path,
        headers: ['Host', 'intranet.example', ...headers],
        body: body ?? null,
        claims: { ...leaseOf(application, principal(user)), ...claims },
      }
      origins.send(application, request, collecting(resolve, reject))
      return promise
    },
    async [Symbol.asyncDispose]() {
      await origins[Symbol.asyncDispose]()
      await signOn[Symbol.asyncDispose]()
    },
  }
}

export function principal(user: Partial<Principal> = {}): Principal {
  return {
    subject: 'b2f0c1a4',
    userPrincipalName: 'alice@sallyport.example',
    displayName: 'Alice Adams',
    groups: ['staff', 'app-wiki', 'app-crm'],
    amr: ['pwd'],
    authTime: 1,
    issuer: 'https://login.example/',
    ...user,
  }
}

function leaseOf(application: Application, user: Principal): LeaseClaims {
  return {
    iss: 'sallyport/policy',
    aud: 'default',
    sub: user.userPrincipalName,
    jti: crypto.randomUUID(),
    iat: 0,
    exp: 60,
    app: application.id,
    session: 's',
    fingerprint: 'f',
    user,
    satisfied: [],
  }
}

function collecting(resolve: (answered: Answered) => void, reject: (error: Error) => void) {
  let head: Omit<Answered, 'text'> | undefined
  const chunks: Buffer[] = []
  return {
    started: () => undefined,
    information: () => undefined,
    head(status, _reason, headers) {
      head = {
        status,
        headers,
        header: name =>
          headers.find((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name),
      }
    },
    data: chunk => void chunks.push(chunk),
    end: () => head && resolve({ ...head, text: Buffer.concat(chunks).toString() }),
    failed: reject,
  } satisfies OriginSink
}
