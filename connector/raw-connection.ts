/**
 * A connection to the origin that carries the bytes of one client's connection, for clients that sign in to the
 * connection and not to a request (NTLM of the Remote Desktop Gateway). Access was granted to the first request; every
 * further one has to keep its path, its host and its family of methods, and is cleared of what only we may set like any
 * request. So both directions are cut into messages, and a request waits until the answer before it is over: an upgrade
 * that the origin declined would otherwise let everything behind it through unread.
 */

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { breakOff } from '#infra/break-off.ts'
import { headerValue } from '#infra/http.ts'
import {
  type BodyFraming,
  encodeRequestHead,
  framingOf,
  parseFields,
  parseRequestHead,
  protocolUpgradeOf,
  type RequestHead,
} from '#infra/request-head.ts'
import { MessageReader, MessageReaderError } from './message-reader.ts'
import type { RawRequest } from './origin.ts'
import { OriginError } from './origin-error.ts'

export interface RawConnectionOptions extends RawRequest {
  /** Connected. */
  socket: Socket
  /** As the origin gets it. */
  first: RequestHead
  /** For the origin to say something, when it has the whole of a request. */
  firstByteMs: number
}

const refusal = 'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

/** What is written goes to the origin, what is read comes from it. */
export class RawConnection extends Duplex {
  readonly #options: RawConnectionOptions
  readonly #requests: MessageReader
  readonly #answers: MessageReader
  /** The request whose answer is not over. */
  #awaited: { readonly isUpgrade: boolean } | undefined
  #isInterim = false
  #hasEnded = false
  #whenTaken: (() => void) | undefined
  #late: NodeJS.Timeout | undefined

  constructor(options: RawConnectionOptions) {
    super({ allowHalfOpen: true })
    this.#options = options
    const { socket, first } = options
    this.#answers = new MessageReader({
      head: text => this.#answer(text),
      body: () => undefined,
      complete: () => this.#answered(),
      mayBegin: () => true,
      takesTrailers: true,
    })
    const framing = this.#send(first)
    const handlers = {
      head: (text: string) => this.#request(text),
      body: (bytes: Buffer) => void socket.write(bytes),
      complete: () => this.#expectAnswer(),
      mayBegin: () => this.#awaited === undefined,
      takesTrailers: false,
    }
    this.#requests = new MessageReader(handlers, framing)
    socket.on('data', (chunk: Buffer) => this.#fromOrigin(chunk))
    socket.on('end', () => {
      this.#hasEnded = true
      this.push(null)
    })
    socket.on('drain', () => this.#taken())
    socket.on('error', error => this.destroy(error))
    socket.on('close', () => this.#gone())
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.#whenTaken = callback
    this.#guard(() => this.#requests.read(chunk))
  }

  override _final(callback: () => void): void {
    this.#options.socket.end(callback)
  }

  override _read(): void {
    this.#options.socket.resume()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    clearTimeout(this.#late)
    const { socket } = this.#options
    if (this.readableEnded && this.writableFinished) socket.destroy()
    else breakOff(socket)
    callback(error)
  }

  /** Reads what the client sent; whatever breaks a rule ends the connection. */
  #guard(read: () => void): void {
    try {
      read()
    } catch (error) {
      const { message } = error as Error
      this.push(refusal)
      this.destroy(new OriginError('bad_request', message, true, { cause: error }))
      return
    }
    this.#taken()
  }

  /** The client may send more when the origin has taken what came, and no request has to wait. */
  #taken(): void {
    if (this.#requests.isHeldBack || this.#options.socket.writableNeedDrain) return
    const callback = this.#whenTaken
    this.#whenTaken = undefined
    callback?.()
  }

  /** @throws for what may not follow on this connection. */
  #request(text: string): BodyFraming {
    const { asked, translate } = this.#options
    const head = parseRequestHead(text)
    if (familyOf(head) !== familyOf(asked)) throw new MessageReaderError('another kind of method')
    if (pathOf(head) !== pathOf(asked)) throw new MessageReaderError('a request for another path')
    if (hostOf(head) !== hostOf(asked)) throw new MessageReaderError('a request for another host')
    return this.#send(translate(head))
  }

  #send(head: RequestHead): number | 'chunked' {
    const framing = framingOf(head.headers)
    const isUpgrade = protocolUpgradeOf(head.headers) !== undefined
    if (isUpgrade && framing !== 0) throw new MessageReaderError('an upgrade with a body')
    this.#awaited = { isUpgrade }
    this.#options.socket.write(encodeRequestHead(head))
    return framing
  }

  /** A request is complete: now it is the origin's turn. */
  #expectAnswer(): void {
    if (!this.#awaited) return
    clearTimeout(this.#late)
    const { firstByteMs } = this.#options
    const detail = `nothing for ${firstByteMs} ms`
    const late = () => this.destroy(new OriginError('origin_timeout', detail, true))
    this.#late = setTimeout(late, firstByteMs)
  }

  #fromOrigin(chunk: Buffer): void {
    clearTimeout(this.#late)
    try {
      this.#answers.read(chunk)
    } catch (error) {
      const { message } = error as Error
      this.destroy(new OriginError('origin_protocol_error', message, true, { cause: error }))
      return
    }
    if (!this.push(chunk)) this.#options.socket.pause()
  }

  /** How an answer is delimited (RFC 9112 §6.3). */
  #answer(text: string): BodyFraming {
    const [line = '', ...lines] = text.split('\r\n')
    const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1] ?? 0)
    if (status < 100) throw new MessageReaderError('an answer that is no HTTP/1.1')
    if (status === 101) return this.#switched()
    this.#isInterim = status < 200
    if (!this.#isInterim) this.#options.answered(status)
    const headers = parseFields(lines)
    if (this.#isInterim || status === 204 || status === 304) return 0
    const isDelimited =
      headerValue(headers, 'content-length') !== undefined ||
      headerValue(headers, 'transfer-encoding') !== undefined
    return isDelimited ? framingOf(headers) : 'unbounded'
  }

  #switched(): BodyFraming {
    if (!this.#awaited?.isUpgrade) throw new MessageReaderError('an unasked switch of protocols')
    this.#options.answered(101)
    queueMicrotask(() => this.#guard(() => this.#requests.unbind()))
    return 'unbounded'
  }

  #answered(): void {
    if (this.#isInterim) return
    this.#awaited = undefined
    queueMicrotask(() => this.#guard(() => this.#requests.resume()))
  }

  #gone(): void {
    if (!this.#hasEnded || this.readableEnded) this.destroy()
    else this.once('end', () => this.destroy())
  }
}

/** `RDG` of RDG_IN_DATA, `RPC` of RPC_OUT_DATA. */
function familyOf({ method }: RequestHead): string {
  return method.slice(0, method.indexOf('_'))
}

function pathOf({ target }: RequestHead): string {
  return target.split('?')[0] as string
}

function hostOf({ headers }: RequestHead): string | undefined {
  return headerValue(headers, 'host')?.toLowerCase()
}
