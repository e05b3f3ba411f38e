/** The configuration of a service from its environment, with a look at names that somebody may have misspelt. */

import cluster from 'node:cluster'
import type { z } from 'zod'
import { type Environment, readConfig } from './config.ts'
import type { ServiceRole } from './embedded/service-process.ts'
import { createLogger, type LogLevel } from './log.ts'
import { unknownNames, withoutFilesOfOthers } from './variable-names.ts'

/** @throws ConfigurationError with all problems at once, unknown variables of its own kind among them. */
export function readServiceConfig<Schema extends z.ZodType<{ logLevel: LogLevel }>>(
  role: ServiceRole,
  schema: Schema,
  environment: Environment,
): Readonly<z.output<Schema>> {
  const { refused, doubtful } = unknownNames(environment, [role])
  const config = readConfig(schema, withoutFilesOfOthers(environment, role), refused)
  // Workers have the environment of their parent, which has said it.
  if (cluster.isWorker) return config
  const log = createLogger(role, config.logLevel)
  for (const { name, says } of doubtful) log.warn({ variable: name }, `${name}: ${says}`)
  return config
}
