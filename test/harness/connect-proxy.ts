/** An HTTP proxy as companies have them: CONNECT alone, with or without Basic authentication. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface ConnectProxy extends AsyncDisposable {
  /** With user and password, if it wants them. */
  readonly url: string
  /** Host and port of each tunnel that was asked for, whether or not it was given. */
  readonly asked: readonly string[]
  /** Requests without the right user and password. */
  readonly refused: number
  /** Ends all tunnels. */
  cut(): void
}

export interface Account {
  user: string
  password: string
}

export async function startConnectProxy(account?: Account): Promise<ConnectProxy> {
  const asked: string[] = []
  const tunnels = new Set<Socket>()
  let refused = 0
  const wanted =
    account && `Basic ${Buffer.from(`${account.user}:${account.password}`).toString('base64')}`
  const server = createServer((_, res) => res.writeHead(405).end())
  server.on('connect', (req, client: Socket, head) => {
    client.on('error', () => undefined)
    asked.push(req.url ?? '')
    if (wanted !== undefined && req.headers['proxy-authorization'] !== wanted) {
      refused++
      client.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n',
      )
      return
    }
    const [host = '', port = ''] = (req.url ?? '').split(':')
    const origin = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      origin.write(head)
      client.pipe(origin).pipe(client)
    })
    tunnels.add(client)
    origin.on('error', () => client.destroy())
    origin.once('close', () => client.destroy())
    client.once('close', () => {
      tunnels.delete(client)
      origin.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const credentials = account ? `${account.user}:${account.password}@` : ''
  const cut = () => {
    for (const tunnel of tunnels) tunnel.destroy()
  }
  return {
    url: `http://${credentials}127.0.0.1:${port}`,
    asked,
    get refused() {
      return refused
    },
    cut,
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      cut()
    },
  }
}
