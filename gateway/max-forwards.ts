/** How far an OPTIONS request may still go (RFC 9110 §7.6.2); for the other methods the field says nothing. */

const name = 'max-forwards'

/** Takes one step from Max-Forwards among these headers. False when there was none left: we are the last to answer. */
export function mayForward(headers: string[]): boolean {
  const at = headers.findIndex((field, i) => i % 2 === 0 && field.toLowerCase() === name) + 1
  const value = at === 0 ? '' : (headers[at] as string)
  if (!/^\d{1,9}$/.test(value)) return true
  if (Number(value) === 0) return false
  headers[at] = `${Number(value) - 1}`
  return true
}
