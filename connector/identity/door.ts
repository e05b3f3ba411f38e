/**
 * What a connector asks through the gateway, while it is not on the bus: over HTTPS, through a proxy if there is one.
 * Only what is signed counts of the answers: of everything else it is only expected that it has the right form, and
 * garbage is an error that says so.
 */

import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { z } from 'zod'
import type { ProxySettings } from '#infra/bus-connection.ts'
import { maxDoorBytes } from '#infra/contracts/enrolment.ts'
import { isFaultCode, SallyportError } from '#infra/errors.ts'

export interface DoorOptions {
  /** Of the portal. */
  url: string
  proxy?: ProxySettings
  signal?: AbortSignal
}

const timeoutMs = 15_000

const Problem = z.object({ code: z.string() })

export type Asked = 'enroll' | 'status' | 'renew'

/**
 * The answer to one question.
 * @throws SallyportError the gateway's or registry's fault, `bus_unavailable` when nobody answers, `protocol_error` for
 * garbage.
 */
export async function askDoor<Answer extends z.ZodType>(
  options: DoorOptions,
  asked: Asked,
  { body, answer }: { body: unknown; answer: Answer },
): Promise<z.output<Answer>> {
  const url = new URL(`.sallyport/connectors/${asked}`, options.url)
  const { status, text } = await send(url, JSON.stringify(body), options)
  const value = parsed(text)
  if (status === 200) {
    const result = answer.safeParse(value)
    if (result.success) return result.data
    throw garbage(url, `${result.error.issues[0]?.path.join('.')} is missing or wrong`)
  }
  const { code = '' } = Problem.safeParse(value).data ?? {}
  if (isFaultCode(code)) throw new SallyportError(code, `${url.origin} answered ${status}: ${code}`)
  throw garbage(url, `status ${status}`)
}

function garbage({ origin }: URL, what: string): SallyportError {
  const detail = `${origin} does not answer like a gateway of Sallyport (${what})`
  return new SallyportError('protocol_error', detail)
}

interface Received {
  status: number
  text: string
}

function send(url: URL, body: string, { proxy, signal }: DoorOptions): Promise<Received> {
  const { promise, resolve, reject } = Promise.withResolvers<Received>()
  const isSecure = url.protocol === 'https:'
  const settings = { keepAlive: false, proxyEnv: { ...proxy } }
  const request = (isSecure ? https : http).request(url, {
    method: 'POST',
    agent: isSecure ? new https.Agent(settings) : new http.Agent(settings),
    // Browsers take these names for this machine (RFC 6761 §6.3), resolvers may not know them.
    ...(url.hostname.endsWith('.localhost') && {
      hostname: '127.0.0.1',
      headers: { host: url.host },
    }),
    signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]),
  })
  request.setHeader('content-type', 'application/json')
  request.setHeader('accept', 'application/json')
  request.setHeader('content-length', Buffer.byteLength(body))
  request.on('response', response => {
    readAll(response, url).then(
      text => resolve({ status: response.statusCode ?? 0, text }),
      error => reject(error),
    )
  })
  request.on('error', error => reject(unanswered(url, error)))
  request.end(body)
  return promise
}

async function readAll(response: IncomingMessage, url: URL): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of response) {
      length += chunk.length
      if (length > maxDoorBytes) throw garbage(url, 'its answer does not end')
      chunks.push(chunk)
    }
  } catch (error) {
    throw error instanceof SallyportError ? error : unanswered(url, error)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function unanswered({ origin }: URL, cause: unknown): SallyportError {
  const { code, message, name } = cause as NodeJS.ErrnoException
  const reason =
    name === 'TimeoutError' ? `no answer within ${timeoutMs / 1_000} s` : (code ?? message)
  const isUntrusted = /^(CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/.test(code ?? '')
  const advice = isUntrusted
    ? '; if its authority is your own, set NODE_EXTRA_CA_CERTS to its PEM file'
    : ''
  return new SallyportError('bus_unavailable', `${origin} cannot be asked (${reason})${advice}`, {
    cause,
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
