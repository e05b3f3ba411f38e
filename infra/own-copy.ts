/**
 * V8 makes a part of a longer text by a reference to the whole of it. What is remembered of a head or of a field is
 * copied first: 66 characters of a cookie would keep 64 KiB in memory.
 */

/** A text of octets, as all fields are (Latin-1), that stands for itself. */
export function ownCopy(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1')
}
