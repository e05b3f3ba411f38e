/** The way from this machine to the gateway and through sign-in, as a browser takes it. Later hops wait for earlier ones. */

import { lookup } from 'node:dns/promises'
import { get as getHttp, type IncomingMessage } from 'node:http'
import { get as getHttps } from 'node:https'
import type { LookupFunction } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { Hop, HopName } from '#infra/contracts/diagnosis.ts'

const limitMs = 5_000

export async function walkToGateway(
  externalUrl: URL,
  { isOpen }: { isOpen: boolean },
): Promise<Hop[]> {
  const url = new URL(externalUrl.href.replace('//*.', '//any.'))
  const hops: Hop[] = []
  for (const step of [name, health, isOpen ? noSignIn : signIn]) {
    const found = await step(url)
    hops.push(...found)
    if (found.some(({ outcome }) => outcome === 'failed')) break
  }
  return hops
}

/** RFC 6761: names below localhost are this machine, whatever its resolver thinks. */
function isThisMachine(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost')
}

async function name({ hostname }: URL): Promise<Hop[]> {
  if (isThisMachine(hostname)) return [ok('name', `${hostname} is this machine`)]
  try {
    const addresses = await lookup(hostname, { all: true })
    return [ok('name', `${hostname} is ${addresses.map(({ address }) => address).join(', ')}`)]
  } catch (error) {
    const fix =
      'Make a DNS record for the external URL that leads to the gateways or their balancer.'
    return [failed('name', `${hostname} cannot be resolved (${reasonOf(error)})`, fix)]
  }
}

/** The gateway itself answers at every published host. */
async function health(url: URL): Promise<Hop[]> {
  try {
    const { response, text } = await get(new URL('/.sallyport/health', url))
    const hops = certificateHops(response)
    if (response.statusCode === 200) return [...hops, ok('gateway', 'it is ready')]
    const missing = /"missing":\[([^\]]*)\]/.exec(text)?.[1] ?? ''
    if (response.statusCode === 503) {
      const fix = 'Look at the log of the gateway, and whether the bus is there.'
      return [...hops, failed('gateway', `it is not ready, and misses ${missing}`, fix)]
    }
    const fix = 'Something else answers at this address: look where the DNS record leads.'
    return [...hops, failed('gateway', `status ${response.statusCode}`, fix)]
  } catch (error) {
    return [unreachable(error)]
  }
}

function unreachable(error: unknown): Hop {
  const reason = reasonOf(error)
  if (/CERT|SIGNATURE|SELF_SIGNED|ALTNAME|TLS|SSL|EPROTO/.test(reason)) {
    const isForeign = /SELF_SIGNED|UNABLE_TO/.test(reason)
    const fix = isForeign
      ? 'If an authority of your own has issued it, start doctor with its PEM file in NODE_EXTRA_CA_CERTS.'
      : 'Give the gateway a certificate for this host (SALLYPORT_GATEWAY_TLS_CERTIFICATE_PATH).'
    return failed('tls', `the certificate is not good (${reason})`, fix)
  }
  const fix = 'Check that a gateway or balancer listens there, and firewalls in between.'
  return failed('gateway', `no connection (${reason})`, fix)
}

const dayMs = 86_400_000

function certificateHops({ socket }: IncomingMessage): Hop[] {
  if (!(socket instanceof TLSSocket)) return [skipped('tls', 'the external URL is http://')]
  const { valid_to: end } = socket.getPeerCertificate()
  const days = Math.floor((Date.parse(end) - Date.now()) / dayMs)
  return [ok('tls', `the certificate is good for ${days} days`)]
}

/** Whoever asks comes to the application itself, which its connectors look at. */
async function noSignIn(): Promise<Hop[]> {
  return [skipped('sign-in', 'the application lets everybody in')]
}

/** A browser without a session is sent to the portal and on to the identity provider. */
async function signIn(url: URL): Promise<Hop[]> {
  let next = url
  const hosts = [url.host]
  try {
    for (let step = 0; step < 4; step++) {
      const { response } = await get(next, { accept: 'text/html', 'sec-fetch-mode': 'navigate' })
      const { statusCode = 0 } = response
      const { location } = response.headers
      if (statusCode >= 500) return [broken(`${next.host} answers with ${statusCode}`)]
      if (!location || statusCode < 300 || statusCode >= 400) break
      next = new URL(location, next)
      if (hosts.at(-1) !== next.host) hosts.push(next.host)
    }
  } catch (error) {
    return [broken(`${next.host} cannot be reached (${reasonOf(error)})`)]
  }
  if (hosts.length === 1) return [skipped('sign-in', 'nobody is asked to sign in')]
  return [ok('sign-in', hosts.join(' leads to '))]
}

function broken(detail: string): Hop {
  const fix = 'Check the identity provider, and SALLYPORT_GATEWAY_IDENTITY_PROVIDER.'
  return failed('sign-in', detail, fix)
}

function get(
  url: URL,
  headers: Record<string, string> = {},
): Promise<{ response: IncomingMessage; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    response: IncomingMessage
    text: string
  }>()
  const options = {
    headers,
    agent: false as const,
    signal: AbortSignal.timeout(limitMs),
    ...(isThisMachine(url.hostname) && { lookup: thisMachine }),
  }
  const request = (url.protocol === 'https:' ? getHttps : getHttp)(url, options, response => {
    const chunks: Buffer[] = []
    response.on('data', (chunk: Buffer) => chunks.length < 64 && chunks.push(chunk))
    response.once('end', () => resolve({ response, text: Buffer.concat(chunks).toString() }))
    response.once('error', reject)
  })
  request.once('error', reject)
  return promise
}

const thisMachine: LookupFunction = (_hostname, options, callback) => {
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}

const ok = (hop: HopName, detail: string): Hop => ({ hop, outcome: 'ok', detail })
const skipped = (hop: HopName, detail: string): Hop => ({ hop, outcome: 'skipped', detail })
const failed = (hop: HopName, detail: string, fix: string): Hop => ({
  hop,
  outcome: 'failed',
  detail,
  fix,
})

function reasonOf(error: unknown): string {
  const { code, name, message } = error as NodeJS.ErrnoException
  return name === 'AbortError' ? `no answer within ${limitMs / 1_000} s` : (code ?? message)
}
