/** Starts one gateway from its environment, or the workers that it consists of. */

import { run } from '#infra/lifecycle.ts'
import { createLogger } from '#infra/log.ts'
import { readServiceConfig } from '#infra/service-config.ts'
import { thisWorker } from '#infra/worker.ts'
import { startWorkers } from '#infra/workers.ts'
import { GatewayConfig } from './config.ts'
import { checkPort } from './front/listen.ts'
import { startGateway } from './gateway.ts'

await run(async signal => {
  const config = readServiceConfig('gateway', GatewayConfig, process.env)
  const worker = thisWorker(process.env)
  if (worker || config.workers === 1) return startGateway(config, { signal, worker })
  if (config.port !== 0) await checkPort(config.host, config.port)
  return startWorkers({
    count: config.workers,
    drainMs: config.drainGraceMs,
    // All at the port that the first one has found.
    environment: first =>
      first ? { SALLYPORT_GATEWAY_PORT: String(first.port), SALLYPORT_GATEWAY_PORT_FILE: '' } : {},
    log: createLogger('gateway', config.logLevel),
  })
})
