/** Long and slow bodies, as they usually go; test/heavy/streams-over-bus.test.ts has them go the other way. */

import { mib } from '../harness/memory.ts'
import { describeStreams } from '../harness/streaming.ts'

describeStreams('by connections of their own', {
  environment: {},
  onBus: { least: 0, most: 4 * mib },
})
