/**
 * The connector's side of connections past the bus (infra/direct.ts). It dials the gateway's door that its owner gave it
 * and nothing else: a gateway has no say in where a connector connects. Behind an address that several gateways or workers
 * share, the one that has made the offer is found by trying again; whatever else goes wrong, everything goes on over the
 * bus, and nothing is dialled for a while.
 */

import http, { type ClientRequest } from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import type { ProxySettings } from '#infra/bus-connection.ts'
import { directPath, directProtocol, directReady } from '#infra/direct.ts'
import type { Logger } from '#infra/log.ts'

export interface DirectDialerOptions {
  /** Of the portal, where a gateway answers. */
  gatewayUrl: string
  proxy: ProxySettings
  log: Logger
}

export interface DirectWish {
  isWanted(): boolean
  /** Called when it is, and the connection is there; `first` has been read from it already. */
  ready(socket: Duplex, first: Buffer): void
}

const timeoutMs = 5_000

/** Of gateways and workers behind one address, so many are tried. */
const maxTries = 6

/** This gateway, or worker, has not made the offer (RFC 9110 §15.5.20). */
const misdirected = 421

/** After a failure that would happen to the next one too. */
const pauseMs = 30_000

export class DirectDialer {
  readonly #options: DirectDialerOptions
  readonly #url: URL
  readonly #agent: http.Agent
  #pausedUntil = 0
  /** It has been said that the gateway cannot be dialled, and it has not been since. */
  #isReported = false

  constructor(options: DirectDialerOptions) {
    this.#options = options
    this.#url = new URL(directPath, options.gatewayUrl)
    const settings = { keepAlive: false, proxyEnv: { ...options.proxy } }
    this.#agent =
      this.#url.protocol === 'https:' ? new https.Agent(settings) : new http.Agent(settings)
  }

  /** Dials the gateway whose offer this key is of. */
  dial(key: string, wish: DirectWish): void {
    if (performance.now() >= this.#pausedUntil) this.#try(key, wish, maxTries)
  }

  #try(key: string, wish: DirectWish, tries: number): void {
    const { log } = this.#options
    const request = this.#request(key)
    request.once('upgrade', (_response, socket: Duplex, first: Buffer) => {
      if (!wish.isWanted()) return void socket.destroy()
      this.#isReported = false
      request.setTimeout(0)
      socket.write(directReady)
      wish.ready(socket, first)
    })
    request.once('response', response => {
      response.resume()
      const { statusCode } = response
      if (statusCode !== misdirected) this.#failed(new Error(`status ${statusCode}`))
      else if (!wish.isWanted()) return
      else if (tries > 1) this.#try(key, wish, tries - 1)
      else log.debug('the gateway of an offer was not found behind the address of all')
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
        upgrade: directProtocol,
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
    if (this.#isReported) return
    this.#isReported = true
    const { origin } = this.#url
    this.#options.log.warn(
      `answers and large bodies go over the bus, since ${origin} cannot be dialled for them (${message})`,
    )
  }
}
