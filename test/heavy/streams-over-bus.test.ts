/** Long and slow bodies where connectors have no way to the gateways but the bus. */

import { mib } from '../harness/memory.ts'
import { describeStreams } from '../harness/streaming.ts'

describeStreams('over the bus alone', {
  environment: { SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS: 'false' },
  onBus: { least: 40 * mib, most: 44 * mib },
})
