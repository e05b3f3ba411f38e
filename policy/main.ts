/** Starts one policy service from its environment. */

import { readConfig } from '#infra/config.ts'
import { run } from '#infra/lifecycle.ts'
import { PolicyConfig } from './config.ts'
import { startPolicy } from './policy.ts'

await run(signal => startPolicy(readConfig(PolicyConfig, process.env), signal))
