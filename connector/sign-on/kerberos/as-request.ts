/**
 * A question that every KDC answers (AS-REQ, RFC 4120 §5.4.1), if only with an error: whether one is alive. It asks for
 * no ticket that could be used, as it proves nothing of the asker.
 */

import { element, readElement } from './der.ts'

const octets = (text: string) => Buffer.from(text, 'latin1')
const generalString = (text: string) => element(0x1b, octets(text))
const integer = (value: number) => element(0x02, Buffer.from([value]))
const tagged = (number: number, ...parts: Uint8Array[]) => element(0xa0 + number, ...parts)

const principalName = (type: number, ...components: string[]) =>
  element(
    0x30,
    tagged(0, integer(type)),
    tagged(1, element(0x30, ...components.map(generalString))),
  )

const aes256 = 18

/** With the length that goes before it over TCP (§7.2.2). */
export function asRequest(realm: string, client: string): Buffer {
  const body = element(
    0x30,
    tagged(0, element(0x03, Buffer.alloc(5))),
    tagged(1, principalName(1, client)),
    tagged(2, generalString(realm)),
    tagged(3, principalName(2, 'krbtgt', realm)),
    tagged(5, element(0x18, octets('20370913024805Z'))),
    tagged(7, integer(1)),
    tagged(8, element(0x30, integer(aes256))),
  )
  const message = element(
    0x6a,
    element(0x30, tagged(1, integer(5)), tagged(2, integer(10)), tagged(4, body)),
  )
  const length = Buffer.alloc(4)
  length.writeUInt32BE(message.length)
  return Buffer.concat([length, message])
}

export interface KdcAnswer {
  /** What its clock showed, as an error says. */
  readonly kdcTimeMs: number | undefined
}

/** Undefined as long as the answer is not whole. @throws RangeError when it is none of a KDC. */
export function readKdcAnswer(data: Buffer): KdcAnswer | undefined {
  if (data.length < 4 || data.length < 4 + data.readUInt32BE()) return undefined
  const answer = readElement(data, 4)
  if (answer.tag === asReply) return { kdcTimeMs: undefined }
  if (answer.tag !== krbError) throw new RangeError(`no answer of a KDC: tag ${answer.tag}`)
  const fields = readElement(answer.body, 0).body
  for (let at = 0; at < fields.length; ) {
    const field = readElement(fields, at)
    if (field.tag === serverTime) return { kdcTimeMs: timeOf(readElement(field.body, 0).body) }
    at = field.next
  }
  return { kdcTimeMs: undefined }
}

const asReply = 0x6b
const krbError = 0x7e
/** `stime` of KRB-ERROR (§5.9.1). */
const serverTime = 0xa4

/** `20261121102030Z`, always in this form (§5.2.3). */
function timeOf(octets: Uint8Array): number | undefined {
  const text = Buffer.from(octets).toString('latin1')
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text)?.slice(1).map(Number)
  if (!parts) return undefined
  const [year = 0, month = 1, ...rest] = parts
  return Date.UTC(year, month - 1, ...rest)
}
