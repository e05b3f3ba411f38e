import { expect, test } from 'vitest'
import { readConfig } from '#infra/config.ts'
import { RegistryConfig } from '../../registry/config.ts'

const needed = {
  SALLYPORT_BUS_URL: 'nats://registry:secret@127.0.0.1:4222',
  SALLYPORT_REGISTRY_ADMIN_TOKEN: 'x'.repeat(24),
}

test('a bus and a token are enough; everything else has a default', () => {
  expect(readConfig(RegistryConfig, needed)).toEqual({
    busUrl: needed.SALLYPORT_BUS_URL,
    logLevel: 'info',
    host: '127.0.0.1',
    port: 8081,
    adminToken: needed.SALLYPORT_REGISTRY_ADMIN_TOKEN,
    externalBaseUrl: undefined,
    replicas: 1,
    auditMaxBytes: 10 * 1024 ** 3,
    auditMaxAgeMs: 90 * 86_400_000,
    auditRedacted: [],
    inactiveAfterMs: 15_000,
    removeInactiveAfterMs: 10 * 86_400_000,
    doesDefaultGroupServe: false,
    connectorBusUrls: [],
    connectorCertificateDays: 30,
  })
})

test('every problem is listed, with the name of the variable', () => {
  const read = () =>
    readConfig(RegistryConfig, {
      SALLYPORT_BUS_URL: 'http://x',
      SALLYPORT_REGISTRY_PORT: '99999',
      SALLYPORT_REGISTRY_REPLICAS: '2',
      SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: 'https://apps.example.com/path',
      SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS: '0',
    })
  for (const name of [
    'SALLYPORT_BUS_URL: must be tls://',
    'SALLYPORT_REGISTRY_PORT: must be a port number',
    'SALLYPORT_REGISTRY_ADMIN_TOKEN: is required',
    'SALLYPORT_REGISTRY_REPLICAS: must be 1, 3 or 5',
    'SALLYPORT_REGISTRY_EXTERNAL_BASE_URL: must have no path',
    'SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS: must be a whole number from 1',
  ]) {
    expect(read).toThrow(name)
  }
})

test('a short token is refused', () => {
  const read = () =>
    readConfig(RegistryConfig, { ...needed, SALLYPORT_REGISTRY_ADMIN_TOKEN: 'short' })
  expect(read).toThrow('SALLYPORT_REGISTRY_ADMIN_TOKEN: must have at least 24')
})
