/**
 * Loaded into our services by `NODE_OPTIONS=--import …` for the cases that measure memory: SIGUSR2 collects garbage, so
 * that what is counted is held and not merely not yet freed.
 */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

process.on('SIGUSR2', () => {
  // What the first round frees may hold more that only then can go.
  collect()
  setImmediate(collect)
})
