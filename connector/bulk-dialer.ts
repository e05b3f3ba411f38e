/**
 * The connector's side of connections for large bodies (infra/bulk.ts). It dials the gateway's door that its owner gave
 * it and nothing else: a gateway has no say in where a connector connects. Behind an address that several gateways or
 * workers share, the one that holds the exchange is found by trying again; whatever else goes wrong, the body goes on over
 * the bus, and nothing is dialled for a while.
 */

import http, { type ClientRequest } from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { BulkConnection, bulkPath, bulkProtocol, bulkReady } from '#infra/bulk.ts'
import type { ProxySettings } from '#infra/bus-connection.ts'
import type { Logger } from '#infra/log.ts'

export interface BulkDialerOptions {
  /** Of the portal, where a gateway answers. */
  gatewayUrl: string
  proxy: ProxySettings
  log: Logger
}

export interface BulkWish {
  isWanted(): boolean
  /** Called when it is, and the connection is there. */
  ready(bulk: BulkConnection): void
}

const timeoutMs = 5_000

/** Of gateways and workers behind one address, so many are tried. */
const maxTries = 6

/** This gateway, or worker, does not hold the exchange (RFC 9110 §15.5.20). */
const misdirected = 421

/** After a failure that would happen to the next one too. */
const pauseMs = 30_000

export class BulkDialer {
  readonly #options: BulkDialerOptions
  readonly #url: URL
  readonly #agent: http.Agent
  #pausedUntil = 0

  constructor(options: BulkDialerOptions) {
    this.#options = options
    this.#url = new URL(bulkPath, options.gatewayUrl)
    const settings = { keepAlive: false, proxyEnv: { ...options.proxy } }
    this.#agent =
      this.#url.protocol === 'https:' ? new https.Agent(settings) : new http.Agent(settings)
  }

  /** Dials for the exchange that this key is of. */
  dial(key: string, wish: BulkWish): void {
    if (performance.now() >= this.#pausedUntil) this.#try(key, wish, maxTries)
  }

  #try(key: string, wish: BulkWish, tries: number): void {
    const { log } = this.#options
    const request = this.#request(key)
    request.once('upgrade', (_response, socket: Duplex, first: Buffer) => {
      if (!wish.isWanted()) return void socket.destroy()
      request.setTimeout(0)
      socket.write(bulkReady)
      wish.ready(new BulkConnection(socket, first))
    })
    request.once('response', response => {
      response.resume()
      const { statusCode } = response
      if (statusCode !== misdirected) this.#failed(new Error(`status ${statusCode}`))
      else if (!wish.isWanted()) return
      else if (tries > 1) this.#try(key, wish, tries - 1)
      else log.debug('the gateway of a large body was not found behind the address of all')
    })
    request.once('error', error => this.#failed(error))
    request.end()
  }

  #request(key: string): ClientRequest {
    const { protocol, hostname, host } = this.#url
    const request = (protocol === 'https:' ? https : http).request(this.#url, {
      agent: this.#agent,
      timeout: timeoutMs,
      headers: {
        host,
        connection: 'Upgrade',
        upgrade: bulkProtocol,
        authorization: `Bearer ${key}`,
      },
      // Browsers take these names for this machine (RFC 6761 §6.3), resolvers may not know them.
      ...(hostname.endsWith('.localhost') && { hostname: '127.0.0.1' }),
    })
    request.once('timeout', () => request.destroy(new Error(`no answer in ${timeoutMs / 1_000} s`)))
    return request
  }

  #failed({ message }: Error): void {
    this.#pausedUntil = performance.now() + pauseMs
    const { origin } = this.#url
    this.#options.log.warn(
      `large bodies go over the bus, since ${origin} cannot be dialled for them (${message})`,
    )
  }
}
