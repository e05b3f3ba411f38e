/** Starts one gateway from its environment. */

import { readConfig } from '#infra/config.ts'
import { run } from '#infra/lifecycle.ts'
import { GatewayConfig } from './config.ts'
import { startGateway } from './gateway.ts'

await run(signal => startGateway(readConfig(GatewayConfig, process.env), signal))
