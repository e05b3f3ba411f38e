/** What a connector takes at once, by itself and as the sum of its workers. */

import { expect, test } from 'vitest'
import { readConfig } from '#infra/config.ts'
import { ConnectorConfig } from '../../connector/config.ts'

const read = (environment: Record<string, string>) =>
  readConfig(ConnectorConfig, { SALLYPORT_BUS_URL: 'nats://c:p@127.0.0.1:4222', ...environment })

test('each worker adds 4096 exchanges, 1024 of them unanswered ones of one application, unless the connector has limits of its own', () => {
  expect(read({})).toMatchObject({ maxExchanges: 4_096, maxAwaited: 1_024 })
  const scaled = { SALLYPORT_CONNECTOR_WORKERS: '3' }
  expect(read(scaled)).toMatchObject({ maxExchanges: 12_288, maxAwaited: 3_072 })
  const limits = { SALLYPORT_CONNECTOR_MAX_EXCHANGES: '100', SALLYPORT_CONNECTOR_MAX_AWAITED: '10' }
  expect(read({ ...scaled, ...limits })).toMatchObject({ maxExchanges: 100, maxAwaited: 10 })
})

test.each(['SALLYPORT_CONNECTOR_MAX_EXCHANGES', 'SALLYPORT_CONNECTOR_MAX_AWAITED'])(
  'workers that would have nothing to do by %s are refused',
  name => {
    expect(() => read({ SALLYPORT_CONNECTOR_WORKERS: '3', [name]: '2' })).toThrow(
      `${name}: must be at least SALLYPORT_CONNECTOR_WORKERS`,
    )
  },
)
