/** Starts one policy service from its environment. */

import { run } from '#infra/lifecycle.ts'
import { readServiceConfig } from '#infra/service-config.ts'
import { PolicyConfig } from './config.ts'
import { startPolicy } from './policy.ts'

await run(signal => startPolicy(readServiceConfig('policy', PolicyConfig, process.env), signal))
