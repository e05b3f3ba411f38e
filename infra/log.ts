/** Operator's log: JSON lines by pino on standard error, secrets redacted. Child loggers name their module. */

import pino from 'pino'

export type Logger = pino.Logger

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

const secrets = ['password', 'token', 'idToken', 'cookie', 'authorization', 'lease', 'secret']

export function createLogger(service: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { error: pino.stdSerializers.err },
      redact: { paths: secrets.flatMap(name => [name, `*.${name}`]), censor: '[redacted]' },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}
