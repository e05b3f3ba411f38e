/** The same front over TCP and over TLS, and connections to both. */

import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { createLogger } from '#infra/log.ts'
import { readCertificate } from '../../gateway/front/certificate.ts'
import { createFront, type Front, type FrontOptions } from '../../gateway/front/front.ts'
import { createCertificate } from '../harness/certificate.ts'

export interface Fronts extends AsyncDisposable {
  readonly TCP: Front
  readonly TLS: Front
  open(name: Transport): Promise<Socket>
}

export type Transport = 'TCP' | 'TLS'

export async function startFronts(options: FrontOptions): Promise<Fronts> {
  const own = await createCertificate()
  const certificate = readCertificate(own, createLogger('gateway', 'silent'))
  const fronts = { TCP: createFront(options), TLS: createFront({ ...options, certificate }) }
  const ports = {
    TCP: await fronts.TCP.listen('127.0.0.1', 0),
    TLS: await fronts.TLS.listen('127.0.0.1', 0),
  }
  return {
    ...fronts,
    open: name => openConnection(ports[name], name),
    async [Symbol.asyncDispose]() {
      for (const front of Object.values(fronts)) {
        const closed = front.close()
        front.destroy()
        await closed
      }
      certificate[Symbol.dispose]()
      await own[Symbol.asyncDispose]()
    },
  }
}

/** Resolves when it is there; whatever becomes of it afterwards is no error. */
export async function openConnection(port: number, name: Transport): Promise<Socket> {
  const to = { host: '127.0.0.1', port }
  const socket = name === 'TLS' ? connectTls({ ...to, rejectUnauthorized: false }) : connectTcp(to)
  socket.setNoDelay(true).on('error', () => undefined)
  await once(socket, name === 'TLS' ? 'secureConnect' : 'connect')
  return socket
}
