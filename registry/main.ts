/** Starts one registry from its environment. */

import { run } from '#infra/lifecycle.ts'
import { readServiceConfig } from '#infra/service-config.ts'
import { RegistryConfig } from './config.ts'
import { startRegistry } from './registry.ts'

await run(signal =>
  startRegistry(readServiceConfig('registry', RegistryConfig, process.env), signal),
)
