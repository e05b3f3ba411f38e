/**
 * The four steps that make a user's token from a keytab: the connector's own credential, the user's by protocol
 * transition (S4U2Self), a context with the application (S4U2Proxy the first time), and the check of the application's
 * reply. The first three may wait for a KDC.
 */

import { type Call, GssError, gssFailure } from './gss-error.ts'
import {
  acquireFrom,
  deleteContext,
  displayName,
  displayStatus,
  type GssBuffer,
  type Handle,
  holdPairs,
  impersonateName,
  importName,
  initContext,
  inquireContext,
  inquireCredential,
  kerberos,
  nameTypes,
  type Out,
  onlyKerberos,
  releaseCredentialHandle,
  releaseName,
  take,
} from './library.ts'
import type { KerberosName } from './protocol.ts'

export interface Credential {
  readonly handle: Handle
  /** Whose it is, as the library says. */
  readonly name: string
  readonly bornAtMs: number
  readonly expiresAtMs: number
}

const initiate = 1
const indefinite = 0xffffffff
const failed = 0xffff0000
const continueNeeded = 1
const flags = { mutual: 2, replay: 4, sequence: 8, integrity: 32 } as const

/** The connector's own credential. Each needs a cache of its own: a renewed one must not meet the old ticket. */
export async function acquire(
  keytabPath: string,
  cacheName: string,
  principal: string | undefined,
): Promise<Credential> {
  const pairs = holdPairs({ client_keytab: keytabPath, ccache: `MEMORY:${cacheName}` })
  const run = async (name: Handle | null) => {
    const [out, minor, ttl] = [[null] as Out<Handle>, [0], [0]]
    const major = await acquireFrom(
      ...([minor, name, indefinite, onlyKerberos, initiate] as const),
      ...([pairs.store, out, null, ttl] as const),
    )
    return credential('gss_acquire_cred_from', { major, minor, out, ttl })
  }
  try {
    if (principal === undefined) return await run(null)
    return await withName({ name: principal, type: 'principal' }, run)
  } finally {
    pairs.free()
  }
}

/** A ticket to ourselves in the name of the user; with it, later, the user's tickets for applications. */
export function impersonate(service: Credential, user: KerberosName): Promise<Credential> {
  return withName(user, async name => {
    const [out, minor, ttl] = [[null] as Out<Handle>, [0], [0]]
    const major = await impersonateName(
      ...([minor, service.handle, name, indefinite, onlyKerberos] as const),
      ...([initiate, out, null, ttl] as const),
    )
    return credential('gss_acquire_cred_impersonate_name', { major, minor, out, ttl })
  })
}

interface Made {
  major: number
  minor: number[]
  out: Out<Handle>
  ttl: number[]
}

function credential(call: Call, { major, minor, out, ttl }: Made): Credential {
  check(call, major, minor)
  const handle = out[0] as Handle
  const bornAtMs = Date.now()
  const expiresAtMs = bornAtMs + (ttl[0] as number) * 1_000
  try {
    return { handle, name: nameOfCredential(handle), bornAtMs, expiresAtMs }
  } catch (error) {
    releaseHandle(handle)
    throw error
  }
}

export function releaseCredential({ handle }: Credential): void {
  releaseHandle(handle)
}

function releaseHandle(handle: Handle): void {
  releaseCredentialHandle([0], [handle])
}

export interface Initiated {
  readonly token: Buffer
  /** To be handed to `finish`, or released. */
  readonly context: Handle
}

/** A fresh token that asks the application to prove itself in turn. */
export async function initiateContext(user: Credential, spn: string): Promise<Initiated> {
  const context: Out<Handle> = [null]
  const { token } = await step(user, spn, { context, isMutual: true })
  return { token, context: context[0] as Handle }
}

/** For whom the library makes tokens with this credential: asked of a context, not of the credential. */
export async function initiatorOf(user: Credential, spn: string): Promise<string> {
  const context: Out<Handle> = [null]
  await step(user, spn, { context, isMutual: false })
  const [name, minor] = [[null] as Out<Handle>, [0]]
  try {
    const handle = context[0] as Handle
    const major = inquireContext(minor, handle, name, null, [0], null, [0], null, null)
    check('gss_inquire', major, minor)
    return nameText(name[0] as Handle)
  } finally {
    if (name[0]) releaseName([0], name)
    releaseContext(context[0] as Handle)
  }
}

/** Whether the application holds the key of its SPN. The context is gone afterwards, whatever comes out. */
export async function finish(
  user: Credential,
  spn: string,
  { context: handle, reply }: { context: Handle; reply: Uint8Array },
): Promise<boolean> {
  const context: Out<Handle> = [handle]
  const { isDone } = await step(user, spn, { context, isMutual: true, reply })
  releaseContext(context[0] as Handle)
  return isDone
}

export function releaseContext(context: Handle): void {
  deleteContext([0], [context], null)
}

interface Step {
  context: Out<Handle>
  isMutual: boolean
  reply?: Uint8Array
}

function step(user: Credential, spn: string, { context, isMutual, reply }: Step) {
  return withName({ name: spn, type: 'principal' }, async target => {
    const [out, minor] = [{} as GssBuffer, [0]]
    const wanted = flags.replay | flags.sequence | flags.integrity | (isMutual ? flags.mutual : 0)
    const given = reply ? bufferOf(reply) : null
    const major = await initContext(
      ...([minor, user.handle, context, target, kerberos, wanted] as const),
      ...([0, null, given, null, out, [0], [0]] as const),
    )
    // The other thread has read them: they must be reachable until here.
    void given
    const token = take(out)
    try {
      check('gss_init_sec_context', major, minor)
    } catch (error) {
      if (context[0]) releaseContext(context[0])
      throw error
    }
    return { token, isDone: (major & continueNeeded) === 0 }
  })
}

async function withName<Result>(
  { name, type }: KerberosName,
  use: (name: Handle) => Promise<Result>,
): Promise<Result> {
  const [out, minor] = [[null] as Out<Handle>, [0]]
  check('gss_import_name', importName(minor, bufferOf(name), nameTypes[type], out), minor)
  try {
    return await use(out[0] as Handle)
  } finally {
    releaseName([0], out)
  }
}

function bufferOf(data: string | Uint8Array): GssBuffer {
  const value = typeof data === 'string' ? Buffer.from(data) : data
  return { length: value.length, value }
}

function nameOfCredential(handle: Handle): string {
  const [name, minor] = [[null] as Out<Handle>, [0]]
  check('gss_inquire', inquireCredential(minor, handle, name, [0], [0], null), minor)
  try {
    return nameText(name[0] as Handle)
  } finally {
    releaseName([0], name)
  }
}

function nameText(name: Handle): string {
  const [out, minor] = [{} as GssBuffer, [0]]
  check('gss_inquire', displayName(minor, name, out, [null]), minor)
  return take(out).toString()
}

function check(call: Call, major: number, [minor = 0]: number[]): void {
  if ((major & failed) === 0) return
  const text = `${statusText(major, 1)}: ${statusText(minor, 2)}`
  throw new GssError(gssFailure(call, major, minor, text))
}

/** Less than MIT's own tools print: their details belong to the thread that failed. */
function statusText(value: number, type: 1 | 2): string {
  const lines: string[] = []
  const more: [number] = [0]
  do {
    const out = {} as GssBuffer
    if (displayStatus([0], value, type, kerberos, more, out) !== 0) break
    lines.push(take(out).toString().replace(/\0+$/, ''))
  } while (more[0] !== 0)
  return lines.join(' ')
}
