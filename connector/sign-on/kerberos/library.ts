/**
 * The functions of MIT's libgssapi_krb5 that we call, through koffi: names and types as in its C headers (RFC 2744), no
 * behaviour. Loading fails where the library is not installed. Only the helper process may load it: calls that wait for
 * a KDC hold a thread, and what crashes here takes the process along.
 */

import { promisify } from 'node:util'
import koffi from 'koffi'

/** A pointer of the library. */
export type Handle = bigint
export type Out<Value> = [Value | null]

export interface GssBuffer {
  length: number | bigint
  value: Uint8Array | Handle | null
}

// Resolver and KDC code want more stack than calls on other threads get by default.
koffi.config({ async_stack_size: 1 << 20 })

koffi.struct('gss_buffer_desc', { length: 'size_t', value: 'void *' })
koffi.struct('gss_oid_desc', { length: 'uint32_t', elements: 'void *' })
koffi.struct('gss_oid_set_desc', { count: 'size_t', elements: 'gss_oid_desc *' })
koffi.struct('gss_kv', { key: 'void *', value: 'void *' })
koffi.struct('gss_kv_set', { count: 'uint32_t', elements: 'gss_kv *' })

const library = koffi.load('libgssapi_krb5.so.2')
const define = (signature: string) => library.func(`uint32_t ${signature}`)

export const importName = define(
  'gss_import_name(_Out_ uint32_t *minor, gss_buffer_desc *name, gss_oid_desc *type, _Out_ void **out)',
)
export const displayName = define(
  'gss_display_name(_Out_ uint32_t *minor, void *name, _Out_ gss_buffer_desc *out, _Out_ void **type)',
)
export const releaseName = define('gss_release_name(_Out_ uint32_t *minor, _Inout_ void **name)')
export const inquireCredential = define(
  'gss_inquire_cred(_Out_ uint32_t *minor, void *cred, _Out_ void **name, _Out_ uint32_t *ttl, _Out_ int *usage, void *mechsOut)',
)
export const releaseCredentialHandle = define(
  'gss_release_cred(_Out_ uint32_t *minor, _Inout_ void **cred)',
)
export const inquireContext = define(
  'gss_inquire_context(_Out_ uint32_t *minor, void *ctx, _Out_ void **src, void *targ, _Out_ uint32_t *ttl, void *mech, _Out_ uint32_t *flags, void *local, void *open)',
)
export const deleteContext = define(
  'gss_delete_sec_context(_Out_ uint32_t *minor, _Inout_ void **ctx, void *out)',
)
export const releaseBuffer = define(
  'gss_release_buffer(_Out_ uint32_t *minor, _Inout_ gss_buffer_desc *buf)',
)
export const displayStatus = define(
  'gss_display_status(_Out_ uint32_t *minor, uint32_t value, int type, gss_oid_desc *mech, _Inout_ uint32_t *more, _Out_ gss_buffer_desc *out)',
)

/** These three may talk to a KDC: they run on the thread pool. */
export const acquireFrom = promisify(
  define(
    'gss_acquire_cred_from(_Out_ uint32_t *minor, void *name, uint32_t time, gss_oid_set_desc *mechs, int usage, gss_kv_set *store, _Out_ void **out, void *mechsOut, _Out_ uint32_t *ttl)',
  ).async,
)
export const impersonateName = promisify(
  define(
    'gss_acquire_cred_impersonate_name(_Out_ uint32_t *minor, void *service, void *user, uint32_t time, gss_oid_set_desc *mechs, int usage, _Out_ void **out, void *mechsOut, _Out_ uint32_t *ttl)',
  ).async,
)
export const initContext = promisify(
  define(
    'gss_init_sec_context(_Out_ uint32_t *minor, void *cred, _Inout_ void **ctx, void *target, gss_oid_desc *mech, uint32_t flags, uint32_t time, void *bindings, gss_buffer_desc *in, void *mechOut, _Out_ gss_buffer_desc *out, _Out_ uint32_t *flagsOut, _Out_ uint32_t *ttl)',
  ).async,
)

/** Bytes that stay where they are until `free`. */
export function hold(bytes: Uint8Array): Handle {
  const at = koffi.alloc('uint8_t', bytes.length)
  koffi.encode(at, koffi.array('uint8_t', bytes.length), bytes)
  return at
}

export const free = (at: Handle) => koffi.free(at)

/** An array of key and value pairs, as credential stores are named; to be freed with what it holds. */
export function holdPairs(pairs: Readonly<Record<string, string>>) {
  const entries = Object.entries(pairs)
  const elements: Handle = koffi.alloc('gss_kv', entries.length)
  const owned: Handle[] = [elements]
  const text = (value: string) => {
    const at = hold(Buffer.from(`${value}\0`))
    owned.push(at)
    return at
  }
  entries.forEach(([key, value], i) => {
    const pair = { key: text(key), value: text(value) }
    koffi.encode(elements, i * koffi.sizeof('gss_kv'), 'gss_kv', pair)
  })
  return { store: { count: entries.length, elements }, free: () => owned.forEach(free) }
}

/** The content of a buffer that the library made, which is given back. */
export function take(buffer: GssBuffer): Buffer {
  if (!buffer.value || !buffer.length) return Buffer.alloc(0)
  const view = koffi.view(buffer.value as Handle, Number(buffer.length))
  const copy = Buffer.from(new Uint8Array(view))
  releaseBuffer([0], buffer)
  return copy
}

/** Identifiers live as long as the process: the library may keep pointers to them. */
const oid = (...bytes: number[]) => ({
  length: bytes.length,
  elements: hold(Uint8Array.from(bytes)),
})

export const kerberos = oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02)

/** GSS_KRB5_NT_PRINCIPAL_NAME and GSS_KRB5_NT_ENTERPRISE_NAME. */
export const nameTypes = {
  principal: oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01),
  enterprise: oid(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x06),
} as const

const kerberosBlock = koffi.alloc('gss_oid_desc', 1)
koffi.encode(kerberosBlock, 'gss_oid_desc', kerberos)

/**
 * The one mechanism, for credentials and contexts alike: where a credential lacks the mechanism of a context, MIT takes
 * the default credential of the process without a word.
 */
export const onlyKerberos = { count: 1, elements: kerberosBlock }
