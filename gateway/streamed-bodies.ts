/**
 * The bodies of an exchange that do not fit into one message: the request's from the client to the connector that asks
 * for it, the answer's to the client, each as fast as whoever takes it (credit). An exchange without such bodies has none
 * of this. Large ones leave the bus (large-bodies.ts), and a client that sends nothing of its body is not waited for;
 * neither holds for messages that come now and then.
 */

import { BodyReceiver } from '#infra/body-receiver.ts'
import { BodySender } from '#infra/body-sender.ts'
import { detailOf } from '#infra/errors.ts'
import { headerValue, isMessageStream } from '#infra/http.ts'
import type { StreamBudget } from '#infra/stream-budget.ts'
import { allowedTrailers } from '#infra/trailers.ts'
import type { ExchangeRequest } from './exchange.ts'
import type { Awaited, Patience } from './front/patience.ts'
import { LargeBodies, type LargeBodiesOptions } from './large-bodies.ts'

export interface StreamedBodiesOptions extends LargeBodiesOptions {
  request: Pick<ExchangeRequest, 'incoming' | 'headers' | 'req' | 'res'>
  budget: StreamBudget
  uploads: Patience
  /** The client has been given the whole answer. */
  onAnswered: () => void
  /** The client sends nothing of its body. */
  onStalled: (detail: string) => void
}

export class StreamedBodies implements Awaited {
  readonly #options: StreamedBodiesOptions
  readonly #large: LargeBodies
  #sender: BodySender | undefined
  #receiver: BodyReceiver | undefined
  /** Of the answer. */
  #mayBeLarge = false

  constructor(options: StreamedBodiesOptions) {
    this.#options = options
    this.#large = new LargeBodies(options)
  }

  get sentBytes(): number {
    return this.#sender?.sentBytes ?? 0
  }

  /** Undefined when the answer does not stream. */
  get receivedBytes(): number | undefined {
    return this.#receiver?.receivedBytes
  }

  /** Nothing is missing but a client that takes it. */
  get isAnswerComplete(): boolean {
    return this.#receiver?.isComplete === true
  }

  /** Complete, or all that is missing is on its way beside the bus: that does without a sender. */
  get isAnswerSaid(): boolean {
    return this.#receiver?.isSaid === true
  }

  /** The head of the answer has been sent; `first` came with it. */
  answer(first: Buffer, headers: readonly string[]): void {
    const { request, budget, send, onAnswered, broken } = this.#options
    const { res } = request
    const receiver = new BodyReceiver({
      budget,
      send,
      deliver: chunk => res.write(chunk),
      onEnd: trailers => {
        res.endWith(allowedTrailers(trailers))
        onAnswered()
      },
    })
    this.#receiver = receiver
    res.on('drain', () => {
      try {
        receiver.drained()
      } catch (error) {
        // What has waited is no HTTP. As with what did not have to wait, there is nobody else to take it.
        broken(detailOf(error))
      }
    })
    receiver.first(first)
    if (isMessageStream(headers)) return
    this.#mayBeLarge = true
    const length = headerValue(headers, 'content-length')
    this.#large.receives(receiver, Number(length) || undefined)
  }

  data(chunk: Buffer): void {
    this.#receiver?.data(chunk)
    if (this.#mayBeLarge) this.#large.moved(this.#receiver?.receivedBytes ?? 0)
  }

  end(bodyBytes: number, trailers: readonly string[]): void {
    this.#receiver?.end(bodyBytes, trailers)
  }

  /** The connector took the request and asks for (more of) its body. */
  credit(bytes: number): void {
    if (this.#sender) this.#sender.grant(bytes)
    else this.#send(bytes)
  }

  #send(creditBytes: number): void {
    const { request, send, uploads } = this.#options
    const { req, incoming } = request
    const { body } = req
    const sender = new BodySender({ send, creditBytes, onWritable: () => body.resume() })
    this.#sender = sender
    const mayBeLarge = !isMessageStream(request.headers)
    if (mayBeLarge) {
      uploads.add(this)
      this.#large.sends(sender, incoming.contentLength)
    }
    body.on('data', (chunk: Buffer) => {
      if (!sender.write(chunk)) body.pause()
      if (mayBeLarge) this.#large.moved(sender.sentBytes)
    })
    body.on('end', () => !req.aborted && sender.end(allowedTrailers(req.rawTrailers)))
  }

  get isClientsTurn(): boolean {
    const { body } = this.#options.request.req
    return this.#sender?.isEnded === false && body.readableFlowing !== false
  }

  get movedBytes(): number {
    return this.sentBytes + (this.receivedBytes ?? 0)
  }

  stalled(): void {
    this.#options.onStalled(`nothing of the body for ${this.#options.uploads.seconds} s`)
  }

  /** The exchange is over. */
  close(): void {
    this.#receiver?.close()
    this.#large.close()
    if (this.#sender) this.#options.uploads.delete(this)
  }
}
