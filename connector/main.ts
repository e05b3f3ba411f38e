/** Starts one connector from its environment. */

import { readConfig } from '#infra/config.ts'
import { run } from '#infra/lifecycle.ts'
import { ConnectorConfig } from './config.ts'
import { startConnector } from './connector.ts'

await run(signal => startConnector(readConfig(ConnectorConfig, process.env), signal))
