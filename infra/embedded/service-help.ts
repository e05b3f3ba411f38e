/**
 * What `sallyport <service> --help` says of each environment variable. It stands here and not in the services'
 * configuration so that help needs to load none of them; a test compares it with what they read.
 */

import type { ServiceRole } from './service-process.ts'

type Variables = Readonly<Record<string, string>>

const monitoringOf = (role: string): Variables => ({
  [`SALLYPORT_${role}_MONITORING_HOST`]:
    'address of /metrics, /livez and /readyz (default 127.0.0.1)',
  [`SALLYPORT_${role}_MONITORING_PORT`]:
    'their port; the next ones for further workers (default: none is open)',
})

const commonVariables: Variables = {
  SALLYPORT_BUS_URL:
    'tls://SEED@host:4222 with the key of the role, several separated by commas (required)',
  SALLYPORT_BUS_CA_PATH:
    "PEM file of the root that the bus's certificate leads to (default: those of the system)",
  SALLYPORT_LOG_LEVEL: 'debug, info, warn, error or silent (default info)',
}

const auditVariables: Variables = {
  SALLYPORT_AUDIT_REDACT:
    'what audit events must not say, of user, clientAddress, path, host (default: nothing)',
}

export const serviceVariables: Readonly<Record<ServiceRole, Variables>> = {
  gateway: {
    ...commonVariables,
    ...auditVariables,
    ...monitoringOf('GATEWAY'),
    SALLYPORT_GATEWAY_HOST: 'address to listen at (default 127.0.0.1)',
    SALLYPORT_GATEWAY_PORT: 'port to listen at, 0 for a free one (default 8080)',
    SALLYPORT_GATEWAY_WORKERS:
      'processes that listen on this one port, or auto for one per core (default 1)',
    SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH:
      'PEM file of certificate and chain: listens for HTTPS with HTTP/2 (default: plain HTTP)',
    SALLYPORT_GATEWAY_TLS_KEY_PATH: 'PEM file of its key; both are read again when they change',
    SALLYPORT_GATEWAY_PORTAL_URL:
      'where users sign in, as in https://portal.example.com/ (required)',
    SALLYPORT_GATEWAY_IDENTITY_PROVIDER: 'issuer URL of the OpenID provider (required)',
    SALLYPORT_GATEWAY_CLIENT_ID: 'client id at the provider (required)',
    SALLYPORT_GATEWAY_CLIENT_SECRET: 'client secret at the provider; none for a public client',
    SALLYPORT_GATEWAY_SCOPES: 'scopes to ask for (default "openid profile email groups")',
    SALLYPORT_GATEWAY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER:
      'true allows a provider without TLS, for trying out (default false)',
    SALLYPORT_GATEWAY_TRUSTED_PROXIES:
      'addresses and CIDR ranges whose X-Forwarded-For and -Proto count (default none)',
    SALLYPORT_GATEWAY_RATE_PER_ADDRESS:
      'requests a second of one address, or RATE/BURST; 0 for no limit (default 0)',
    SALLYPORT_GATEWAY_RATE_PER_USER: 'the same of one user (default 0)',
    SALLYPORT_GATEWAY_RATE_OF_SIGN_IN: 'steps of signing in, of one address (default 50/200)',
    SALLYPORT_GATEWAY_RATE_OF_DECISIONS: 'questions to policy, of one address (default 200/1000)',
    SALLYPORT_GATEWAY_RATE_OF_ENROLMENT:
      'requests of connectors that are not on the bus, of one address (default 5/100)',
    SALLYPORT_GATEWAY_CONNECTIONS_PER_ADDRESS:
      'connections of one address at once, 0 for no limit (default 0)',
    SALLYPORT_GATEWAY_UPLOAD_IDLE_SECONDS:
      'how long a client may send nothing of a body that is awaited (default 120)',
    SALLYPORT_GATEWAY_DOWNLOAD_IDLE_SECONDS:
      'how long a client may take nothing of what was sent to it (default 300)',
    SALLYPORT_GATEWAY_STREAM_MEMORY_MIB:
      'memory for the windows of large bodies and open connections, of each worker (default 256)',
    SALLYPORT_GATEWAY_KEEP_ALIVE_SECONDS:
      'how long a connection may wait for its next request (default 65)',
    SALLYPORT_GATEWAY_DRAIN_SECONDS:
      'how long requests under way may take to end when it stops (default 20)',
    SALLYPORT_GATEWAY_AUDIT_SPILL_PATH:
      'where audit events wait while the bus is away (default: in memory only)',
  },
  connector: {
    ...commonVariables,
    SALLYPORT_BUS_URL:
      'wss://host, or tls://SEED@host:4222 where connectors share a key (default: as enrolment told)',
    SALLYPORT_BUS_CA_PATH: 'PEM file of the root, for a connector that is not enrolled',
    SALLYPORT_CONNECTOR_IDENTITY_PATH:
      'folder of its key and certificate (default $STATE_DIRECTORY, or ~/.local/state/sallyport-connector)',
    HTTPS_PROXY: 'proxy on the way out, http://user:password@host:port (default none)',
    NO_PROXY: 'hosts that are reached without the proxy, separated by commas',
    SALLYPORT_CONNECTOR_ID:
      'its name, unique; counts when it is enrolled (default: host name and a random end)',
    SALLYPORT_CONNECTOR_GROUP:
      "the connector group it serves (default: that of the enrolment token, and without enrolment 'default')",
    SALLYPORT_CONNECTOR_WORKERS:
      'processes that share its work, or auto for one per core (default 1)',
    SALLYPORT_CONNECTOR_MAX_EXCHANGES:
      'exchanges at once of all its workers, idle connections included, then others take over (default 4096 for each worker)',
    SALLYPORT_CONNECTOR_MAX_AWAITED:
      'requests of one application that may wait for its answer at once, then only this application is refused (default 1024 for each worker)',
    SALLYPORT_CONNECTOR_DIRECT_CONNECTIONS:
      'false keeps answers and large bodies on the bus, instead of connections to the portal (default true)',
    SALLYPORT_CONNECTOR_GATEWAY_URL:
      'address of the portal, for those connections (default: the one at which it enrolled)',
    SALLYPORT_CONNECTOR_STREAM_MEMORY_MIB:
      'memory for the windows of large bodies and open connections, of each worker (default 256)',
    SALLYPORT_CONNECTOR_MONITORING_PORT:
      'port at 127.0.0.1 of /metrics, /livez and /readyz; the next ones for further workers (default: none is open)',
    SALLYPORT_CONNECTOR_VETO_PATH:
      "the site owner's own rules, a JSON file that is read anew when it changes (default: none)",
    SALLYPORT_CONNECTOR_ALLOW_LOOPBACK:
      'false keeps applications away from this host itself: 127.0.0.1, ::1 (default true)',
    SALLYPORT_CONNECTOR_KERBEROS_KEYTAB_PATH:
      'keytab of the account that signs users on to applications; with a realm, or neither',
    SALLYPORT_CONNECTOR_KERBEROS_REALM: 'its realm, as in CORP.EXAMPLE',
    SALLYPORT_CONNECTOR_KERBEROS_KDCS:
      'host:port of its domain controllers, separated by commas (default: by DNS)',
    SALLYPORT_CONNECTOR_KERBEROS_PRINCIPAL: 'which key of the keytab (default: the first one)',
    SALLYPORT_CONNECTOR_DRAIN_SECONDS:
      'how long exchanges under way may take to end when it stops (default 20)',
  },
  policy: {
    ...commonVariables,
    ...auditVariables,
    ...monitoringOf('POLICY'),
    SALLYPORT_POLICY_IDENTITY_PROVIDER: 'issuer URL of the OpenID provider (required)',
    SALLYPORT_POLICY_CLIENT_ID: 'client id that ID tokens must be made for (required)',
    SALLYPORT_POLICY_TRUST_PLAIN_HTTP_IDENTITY_PROVIDER:
      'true allows a provider without TLS, for trying out (default false)',
    SALLYPORT_POLICY_LEASE_SECONDS:
      'how long access goes on when policy cannot be asked any more, 2 to 60 (default 60)',
    SALLYPORT_POLICY_MULTIFACTOR_ACR_VALUES:
      "what the provider calls a sign-in with a second factor, separated by spaces (default: the embedded provider's and OpenID's words)",
    SALLYPORT_POLICY_COUNTRY_DATABASE_PATH:
      'MMDB file that tells the country of an address (default: countries cannot be told)',
    SALLYPORT_POLICY_CLAIMS:
      'further claims for sign-on to applications, as in department,costCentre=cost_centre',
    SALLYPORT_POLICY_AUDIT_SPILL_PATH:
      'where audit events wait while the bus is away (default: in memory only)',
  },
  registry: {
    ...commonVariables,
    ...auditVariables,
    ...monitoringOf('REGISTRY'),
    SALLYPORT_REGISTRY_SYSTEM_BUS_URL:
      'the bus with the user of its system account, to learn at once that a connector is gone (default: by its silence)',
    SALLYPORT_REGISTRY_CALLOUT_BUS_URL:
      'the bus with the role "callout", to let connectors in by certificate (default: they share one user)',
    SALLYPORT_REGISTRY_HOST: 'address of the admin API (default 127.0.0.1)',
    SALLYPORT_REGISTRY_PORT: 'port of the admin API, 0 for a free one (default 8081)',
    SALLYPORT_REGISTRY_AUTHORITY_PATH:
      'folder of the certificate authority, made when it is missing (default: no connector can be enrolled)',
    SALLYPORT_REGISTRY_ENROLMENT_URL:
      'where connectors enrol, which is the portal: https://portal.example.com/ (needed to make tokens)',
    SALLYPORT_REGISTRY_CONNECTOR_BUS_URLS:
      'where enrolled connectors find the bus, as in wss://bus.example.com; several separated by commas',
    SALLYPORT_REGISTRY_CONNECTOR_CERTIFICATE_DAYS:
      "how long a connector's certificate is good, 1 to 90 (default 30)",
    SALLYPORT_REGISTRY_ADMIN_TOKEN:
      'bearer token of administrators, 24 characters or more (required)',
    SALLYPORT_REGISTRY_EXTERNAL_BASE_URL:
      'makes the external URL of an application published without one: http://NAME.<host>/',
    SALLYPORT_REGISTRY_REPLICAS: 'copies of all data in a NATS cluster: 1, 3 or 5 (default 1)',
    SALLYPORT_REGISTRY_AUDIT_MAX_BYTES: 'size at which the oldest events go (default 10 GiB)',
    SALLYPORT_REGISTRY_AUDIT_MAX_AGE_DAYS: 'age at which events go (default 90)',
    SALLYPORT_REGISTRY_INACTIVE_AFTER_SECONDS:
      'when a connector without a sign of life is tagged inactive (default 15)',
    SALLYPORT_REGISTRY_REMOVE_INACTIVE_AFTER_DAYS:
      'when a connector that is not seen any more is removed (default 10)',
    SALLYPORT_REGISTRY_DEFAULT_GROUP_SERVES:
      'true allows applications in the group "default" too, for trying out (default false)',
  },
}

/** The part of the help text below the options. */
export function variablesHelp(role: ServiceRole): string {
  const lines = Object.entries(serviceVariables[role]).map(
    ([name, text]) => `  ${name}\n      ${text}`,
  )
  return [
    '',
    'Environment:',
    ...lines,
    '',
    'Any of them may be given as a file: NAME_FILE=/path/of/a/file in place of NAME.',
  ].join('\n')
}
