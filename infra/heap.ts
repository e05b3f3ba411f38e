/**
 * Has V8 manage memory for a process that serves for months. Left alone it reduces the heap of one that idles for eight
 * seconds, and lets it grow by a tenth from then on before it marks all of it again: the next load, for minutes, spends
 * half of its time on that. And in one start of five it guesses wrong what lives for long (DECISIONS 39).
 */

import { setFlagsFromString } from 'node:v8'

export const heapFlags = [
  // The heap may double before it is marked as a whole.
  '--heap-growing-percent=100',
  // An idle process is not asked for its memory: in ms, the largest that there is.
  '--gc-memory-reducer-start-delay-ms=2147483647',
  // Parts of an exchange that V8 takes for long-lived are: dead ones keep alive whatever they refer to.
  '--no-allocation-site-pretenuring',
]

/** For the start of a service. */
export function keepHeap(): void {
  for (const flag of heapFlags) setFlagsFromString(flag)
}
