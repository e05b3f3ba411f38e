/** What a connector takes at once, by itself and as the sum of its workers. */

import { expect, test } from 'vitest'
import { readConfig } from '#infra/config.ts'
import { ConnectorConfig } from '../../connector/config.ts'

const read = (environment: Record<string, string>) =>
  readConfig(ConnectorConfig, { SALLYPORT_BUS_URL: 'nats://c:p@127.0.0.1:4222', ...environment })

test('each worker adds 128 exchanges, unless the connector has a limit of its own', () => {
  expect(read({}).maxExchanges).toBe(128)
  expect(read({ SALLYPORT_CONNECTOR_WORKERS: '3' }).maxExchanges).toBe(384)
  const limited = { SALLYPORT_CONNECTOR_WORKERS: '3', SALLYPORT_CONNECTOR_MAX_EXCHANGES: '100' }
  expect(read(limited).maxExchanges).toBe(100)
})

test('workers that would have nothing to do are refused', () => {
  const environment = { SALLYPORT_CONNECTOR_WORKERS: '3', SALLYPORT_CONNECTOR_MAX_EXCHANGES: '2' }
  expect(() => read(environment)).toThrow(
    'SALLYPORT_CONNECTOR_MAX_EXCHANGES: must be at least SALLYPORT_CONNECTOR_WORKERS',
  )
})
