/** As much of DER (X.690) as SPNEGO and one Kerberos message need: elements of known tag, lengths below 16 MiB. */

export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag, ...lengthOf(body.length)]), body])
}

function lengthOf(n: number): number[] {
  if (n < 0x80) return [n]
  if (n < 0x100) return [0x81, n]
  if (n < 0x10000) return [0x82, n >> 8, n & 0xff]
  return [0x83, n >> 16, (n >> 8) & 0xff, n & 0xff]
}

export interface Element {
  readonly tag: number
  readonly body: Uint8Array
  /** Where the next element begins. */
  readonly next: number
}

/** @throws RangeError for what is no element. */
export function readElement(data: Uint8Array, at: number): Element {
  const [tag, first] = [data[at], data[at + 1]]
  if (tag === undefined || first === undefined) throw new RangeError('DER: cut off')
  const count = first < 0x80 ? 0 : first & 0x7f
  if (first === 0x80 || count > 3) throw new RangeError('DER: length')
  let length = count === 0 ? first : 0
  for (let i = 0; i < count; i++) length = (length << 8) | (data[at + 2 + i] ?? 0)
  const start = at + 2 + count
  if (start + length > data.length) throw new RangeError('DER: cut off')
  return { tag, body: data.subarray(start, start + length), next: start + length }
}
