/** The help of each service lists exactly the variables that it reads. */

import { expect, it } from 'vitest'
import { serviceVariables } from '#infra/embedded/service-help.ts'
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
      const isRequired = !schema.safeParse(undefined).success
      expect(serviceVariables[role][name]?.includes('(required)'), name).toBe(isRequired)
    }
  },
)
