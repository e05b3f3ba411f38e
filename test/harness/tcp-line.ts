/** A line to a port of this machine that a test can cut, or let hang: then nothing passes and nobody is told. */

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpLine extends AsyncDisposable {
  readonly port: number
  /** Connections that are open. */
  readonly open: number
  /** Ends every connection at once, with all that is on its way; new ones get through. */
  cut(): void
  /** From now on nothing passes, on open connections and new ones. */
  hang(): void
  /** From now on so many bytes pass in a second, each way of each connection. */
  slow(bytesPerSecond: number): void
  /** What hung goes on, with all that was on its way. */
  goOn(): void
  /** What hung is ended, and new connections get through. */
  mend(): void
}

export async function startTcpLine(targetPort: number): Promise<TcpLine> {
  const pairs = new Set<readonly [Socket, Socket]>()
  let isHanging = false
  let bytesPerSecond = Number.POSITIVE_INFINITY
  const server = createServer({ noDelay: true, allowHalfOpen: true }, client => {
    const target = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
    const pair = [client, target] as const
    pairs.add(pair)
    join(client, target)
    join(target, client)
    for (const socket of pair) {
      socket.on('error', () => undefined)
      socket.once('close', hadError => {
        if (hadError && !isHanging) for (const each of pair) each.destroy()
        if (pair.every(each => each.destroyed)) pairs.delete(pair)
      })
    }
  })
  const join = (from: Socket, to: Socket) => {
    from.on('data', (data: Buffer) => {
      to.write(data)
      const ms = (data.length / bytesPerSecond) * 1_000
      if (ms === 0) return
      from.pause()
      setTimeout(() => !isHanging && from.resume(), ms)
    })
    from.on('end', () => to.end())
    if (isHanging) from.pause()
  }
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
  }
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    get open() {
      return pairs.size
    },
    cut,
    hang: () => {
      isHanging = true
      for (const socket of [...pairs].flat()) socket.pause()
    },
    slow: bytes => {
      bytesPerSecond = bytes
    },
    goOn: () => {
      isHanging = false
      for (const socket of [...pairs].flat()) socket.resume()
    },
    mend: () => {
      isHanging = false
      cut()
    },
    async [Symbol.asyncDispose]() {
      cut()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}
