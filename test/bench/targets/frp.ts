/**
 * frp in both of its kinds: `tcp` carries bytes, `http` knows requests and shares one port by host name. Everything is
 * left at its default, TLS between frpc and frps included; only the addresses are loopback's.
 */

import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '#infra/embedded/ports.ts'
import { type Daemon, startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPaths, versionOf } from '../machine/programs.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

/** The name under which `http` publishes. */
export const frpHost = 'frp.localhost'

export const frpTcp = (options: StartOptions) => frp('frp-tcp', options)
export const frpHttp = (options: StartOptions) => frp('frp-http', options)

async function frp(
  name: 'frp-tcp' | 'frp-http',
  { origin }: StartOptions,
): Promise<Target | MissingTarget> {
  const programs = await programPaths('frps', 'frpc')
  if ('missing' in programs) return notInstalled(name, programs.missing)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const settings = {
    isHttp: name === 'frp-http',
    serverPort: await freePort(),
    port: await freePort(),
    originPort: origin.port,
    token: randomBytes(16).toString('hex'),
  }
  const start = async (program: 'frps' | 'frpc', text: string, port: number): Promise<Daemon> => {
    const file = join(folder, `${program}.toml`)
    await writeFile(file, text, { mode: 0o600 })
    return startDaemon(programs[program], ['-c', file], { port, folder })
  }
  const server = stack.use(await start('frps', serverConfiguration(settings), settings.serverPort))
  const client = stack.use(await start('frpc', clientConfiguration(settings), settings.port))
  const owned = stack.move()
  return {
    name,
    port: settings.port,
    headers: settings.isHttp ? { Host: frpHost } : {},
    processes: { frps: [server.pid], frpc: [client.pid] },
    version: `frp ${await versionOf(programs.frps, ['--version'])}, ${settings.isHttp ? 'http' : 'tcp'}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

interface Settings {
  isHttp: boolean
  serverPort: number
  port: number
  originPort: number
  token: string
}

function serverConfiguration({ isHttp, serverPort, port, token }: Settings): string {
  return `
bindAddr = "127.0.0.1"
proxyBindAddr = "127.0.0.1"
bindPort = ${serverPort}
auth.token = "${token}"
log.level = "warn"
${isHttp ? `vhostHTTPPort = ${port}` : ''}
`
}

function clientConfiguration({ isHttp, serverPort, port, originPort, token }: Settings): string {
  return `
serverAddr = "127.0.0.1"
serverPort = ${serverPort}
auth.token = "${token}"
log.level = "warn"

[[proxies]]
name = "origin"
type = "${isHttp ? 'http' : 'tcp'}"
localIP = "127.0.0.1"
localPort = ${originPort}
${isHttp ? `customDomains = ["${frpHost}"]` : `remotePort = ${port}`}
`
}
