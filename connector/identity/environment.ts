/**
 * What an enrolled connector is configured with: its identity says which connector it is and where the bus is, so that
 * nothing else has to be set. A bus address in the environment that is not `wss://` is one without enrolment.
 */

import { ConfigurationError, type Environment, readConfig } from '#infra/config.ts'
import { unknownNames, withoutFilesOfOthers } from '#infra/variable-names.ts'
import { ConnectorConfig } from '../config.ts'
import { IdentityFolder, identityPathOf } from './folder.ts'

/** The environment as it is, or with what the identity of this host says in place of what is not set. */
export async function enrolledEnvironment(environment: Environment): Promise<Environment> {
  const { SALLYPORT_BUS_URL: url, SALLYPORT_BUS_URL_FILE: urlFile } = environment
  const { SALLYPORT_CONNECTOR_GATEWAY_URL: gateway, SALLYPORT_CONNECTOR_GATEWAY_URL_FILE: inFile } =
    environment
  if (urlFile || (url && !url.startsWith('wss:'))) return environment
  const folder = new IdentityFolder(identityPathOf(environment))
  const identity = await folder.read()
  if (!identity) {
    throw new ConfigurationError(
      `This host is not enrolled: there is no identity in ${folder.path}.\n` +
        'Make a token with "sallyport connector-token" and start with --enroll-with-token-from FILE, - or env.',
    )
  }
  const { connectorId, connectorGroupId, busUrls, enrolUrl } = identity
  if (!url && busUrls.length === 0) {
    throw new ConfigurationError(
      'SALLYPORT_BUS_URL: is required, since the registry did not say where the bus is (SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS there)',
    )
  }
  return {
    ...environment,
    SALLYPORT_BUS_URL: url || busUrls.join(','),
    SALLYPORT_CONNECTOR_ID: connectorId,
    SALLYPORT_CONNECTOR_ID_FILE: undefined,
    SALLYPORT_CONNECTOR_GROUP: connectorGroupId,
    SALLYPORT_CONNECTOR_GROUP_FILE: undefined,
    ...(!gateway && !inFile && { SALLYPORT_CONNECTOR_GATEWAY_URL: enrolUrl }),
    SALLYPORT_CONNECTOR_IDENTITY_PATH: folder.path,
  }
}

/** @throws ConfigurationError with what would be wrong once this host has an identity. */
export function checkUnenrolled(environment: Environment): void {
  const { SALLYPORT_BUS_URL: url } = environment
  const enrolled = { ...environment, SALLYPORT_BUS_URL: url || 'wss://bus.invalid' }
  const { refused } = unknownNames(environment, ['connector'])
  readConfig(ConnectorConfig, withoutFilesOfOthers(enrolled, 'connector'), refused)
}
