/** The help of each service lists exactly the variables that it reads, and what is misspelt is not lost. */

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ConfigurationError } from '#infra/config.ts'
import { serviceVariables } from '#infra/embedded/service-help.ts'
import { readServiceConfig } from '#infra/service-config.ts'
import { unknownNames } from '#infra/variable-names.ts'
import { ConnectorConfig } from '../../connector/config.ts'
import { GatewayConfig } from '../../gateway/config.ts'
import { PolicyConfig } from '../../policy/config.ts'
import { RegistryConfig } from '../../registry/config.ts'

const schemas = {
  gateway: GatewayConfig,
  connector: ConnectorConfig,
  policy: PolicyConfig,
  registry: RegistryConfig,
}

it.each(Object.keys(schemas) as (keyof typeof schemas)[])(
  'sallyport %s --help names every variable that it reads, and no other',
  role => {
    const read = Object.entries(schemas[role].in.shape)
    expect(Object.keys(serviceVariables[role]).toSorted()).toEqual(
      read.map(([name]) => name).toSorted(),
    )
    for (const [name, schema] of read) {
      const isGivenByEnrolment = role === 'connector' && name === 'SALLYPORT_BUS_URL'
      const isRequired = !schema.safeParse(undefined).success && !isGivenByEnrolment
      expect(serviceVariables[role][name]?.includes('(required)'), name).toBe(isRequired)
    }
  },
)

describe('a variable that is misspelt', () => {
  const connector = { SALLYPORT_BUS_URL: 'wss://bus.example.com' }
  const read = (more: Record<string, string>) =>
    readServiceConfig('connector', ConnectorConfig, { ...connector, ...more })

  it.each([
    ['SALLYPORT_CONNECTOR_ALOW_LOOPBACK', 'did you mean SALLYPORT_CONNECTOR_ALLOW_LOOPBACK?'],
    ['SALLYPORT_CONNECTOR_VETO_PAHT', 'did you mean SALLYPORT_CONNECTOR_VETO_PATH?'],
    ['SALLYPORT_CONNECTOR_ID_FLIE', 'did you mean SALLYPORT_CONNECTOR_ID_FILE?'],
    ['SALLYPORT_BUS_CA', 'sallyport connector --help lists those that there are'],
    ['SALLYPORT_LOG_LEVLE', 'did you mean SALLYPORT_LOG_LEVEL?'],
  ])('is refused by the service whose kind it is: %s', (name, fix) => {
    expect(() => read({ [name]: 'x' })).toThrow(ConfigurationError)
    expect(() => read({ [name]: 'x' })).toThrow(`${name}: is not a variable of Sallyport; ${fix}`)
  })

  it('is told with all other problems', () => {
    const problems = { SALLYPORT_CONNECTOR_GRUOP: 'x', SALLYPORT_CONNECTOR_WORKERS: 'x' }
    expect(() => read(problems)).toThrow(/_GRUOP: .*_GROUP\?\n.*_WORKERS: must be/)
  })

  it('is doubtful where another service would refuse it, or nobody reads its kind', () => {
    const environment = { SALLYPORT_GATEWAY_PROT: '1', SALLYPORT_CONECTOR_ID: 'a' }
    expect(unknownNames(environment, ['connector'])).toEqual({
      refused: [],
      doubtful: [
        {
          name: 'SALLYPORT_GATEWAY_PROT',
          says: expect.stringContaining('SALLYPORT_GATEWAY_PORT?'),
        },
        { name: 'SALLYPORT_CONECTOR_ID', says: expect.stringContaining('SALLYPORT_CONNECTOR_ID?') },
      ],
    })
    expect(unknownNames(environment).refused).toEqual([
      expect.stringContaining('did you mean SALLYPORT_GATEWAY_PORT?'),
    ])
  })

  it('is not what others read, what is empty, what Kubernetes sets, or a file of another service', () => {
    const compose = readFileSync('infra/deploy/compose.yaml', 'utf8')
    const names = [
      ...(compose.match(/SALLYPORT_[A-Z_0-9]*[A-Z0-9]/g) ?? []),
      ...Object.values(serviceVariables).flatMap(Object.keys),
      'SALLYPORT_ADMIN_TOKEN_FILE',
      'SALLYPORT_CONNECTOR_SERVICE_HOST',
      'SALLYPORT_CONNECTOR_SERVICE_PORT_HTTP',
      'SALLYPORT_CONNECTOR_PORT_80_TCP_ADDR',
    ]
    const environment = Object.fromEntries(names.map(name => [name, 'x']))
    const none = { refused: [], doubtful: [] }
    expect(unknownNames({ ...environment, SALLYPORT_CONNECTOR_NOTHING: '' })).toEqual(none)
    expect(read({ SALLYPORT_GATEWAY_CLIENT_SECRET_FILE: '/not/there' })).toBeDefined()
  })
})
