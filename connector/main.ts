/** Starts one connector from its environment, or the workers that it consists of. */

import { run } from '#infra/lifecycle.ts'
import { createLogger } from '#infra/log.ts'
import { readServiceConfig } from '#infra/service-config.ts'
import { thisWorker } from '#infra/worker.ts'
import { startWorkers } from '#infra/workers.ts'
import { ConnectorConfig } from './config.ts'
import { startConnector } from './connector.ts'
import { enrolledEnvironment } from './identity/environment.ts'

await run(async signal => {
  const config = readServiceConfig(
    'connector',
    ConnectorConfig,
    await enrolledEnvironment(process.env),
  )
  const worker = thisWorker(process.env)
  if (worker || config.workers === 1) return startConnector(config, { signal, worker })
  const { connectorId, drainGraceMs, logLevel, workers } = config
  return startWorkers({
    count: workers,
    drainMs: drainGraceMs,
    // Which may have been made up just now.
    environment: () => ({
      SALLYPORT_CONNECTOR_ID: connectorId,
      SALLYPORT_CONNECTOR_ID_FILE: '',
    }),
    log: createLogger('connector', logLevel).child({ connector: connectorId }),
  })
})
