/** Starts one registry from its environment. */

import { readConfig } from '#infra/config.ts'
import { run } from '#infra/lifecycle.ts'
import { RegistryConfig } from './config.ts'
import { startRegistry } from './registry.ts'

await run(signal => startRegistry(readConfig(RegistryConfig, process.env), signal))
