/**
 * The SPNEGO envelope (RFC 4178) around one Kerberos token. It is ours and not the library's: through MIT's own SPNEGO
 * mechanism every error code arrives renumbered, and a credential of another mechanism would be replaced by the
 * process's default one without a word.
 */

import { element, readElement } from './der.ts'

const spnego = Buffer.from('06062b0601050502', 'hex')
const kerberos = Buffer.from('06092a864886f712010202', 'hex')

/** NegTokenInit with Kerberos as its only mechanism, in the framing of initial tokens (RFC 2743 §3.1). */
export function wrapInitial(token: Uint8Array): Buffer {
  const mechanisms = element(0xa0, element(0x30, kerberos))
  const mechanismToken = element(0xa2, element(0x04, token))
  return element(0x60, spnego, element(0xa0, element(0x30, mechanisms, mechanismToken)))
}

/**
 * The Kerberos token of a NegTokenResp; a bare Kerberos reply is one already.
 * @throws RangeError when there is none.
 */
export function unwrapReply(reply: Uint8Array): Uint8Array {
  const outer = readElement(reply, 0)
  if (outer.tag !== 0xa1) return reply
  const fields = readElement(outer.body, 0).body
  for (let at = 0; at < fields.length; ) {
    const field = readElement(fields, at)
    if (field.tag === 0xa2) return readElement(field.body, 0).body
    at = field.next
  }
  throw new RangeError('SPNEGO: a reply without a token')
}
