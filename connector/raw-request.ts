/**
 * What the origin gets of the further requests on a client's connection (raw-connection.ts). The gateway has seen only
 * the first one: so the fields that only we may set are dropped here, and those that the gateway set for the first one
 * stand in their place.
 */

import type { Application } from '#infra/contracts/application.ts'
import { allowsMethod } from '#infra/contracts/http-methods.ts'
import { fieldKind } from '#infra/field-kinds.ts'
import { nominated } from '#infra/http.ts'
import {
  framingOf,
  protocolUpgradeOf,
  type RequestHead,
  RequestHeadError,
} from '#infra/request-head.ts'
import { isReserved, partCookies } from '#infra/reserved-fields.ts'
import type { RawRequest } from './origin.ts'
import { internalTarget, requestHeaders, type Translation } from './translate.ts'

/** What gateways say of every request, and of which clients may have their own (gateway/forwarded.ts). */
const setByGateway = ['traceparent', 'via'] as const

/** May stand once in a request, or two programs read it in two ways. */
const single = ['host', 'authorization'] as const

export function rawRequest(
  asked: RequestHead,
  application: Application,
  translation: Translation,
): Omit<RawRequest, 'answered'> {
  const told = gatewayFields(asked.headers)
  return {
    asked,
    translate(head) {
      const { allowedHttpMethods } = application.onPremisesPublishing
      if (!allowsMethod(allowedHttpMethods, head.method)) refuse(`the method ${head.method}`)
      for (const name of single) if (count(head, name) > 1) refuse(`more than one ${name}`)
      const headers = [...endToEnd(head.headers), ...told, ...connectionFields(head.headers)]
      return {
        method: head.method,
        target: internalTarget(translation, head.target),
        headers: requestHeaders(translation, headers),
      }
    },
  }
}

function refuse(detail: string): never {
  throw new RequestHeadError('bad_request', detail)
}

function gatewayFields(headers: readonly string[]): string[] {
  const reserved = headers.filter((_, i) => isReserved((headers[i & ~1] as string).toLowerCase()))
  const others = setByGateway.flatMap(name => {
    // The gateway's own entry of Via is the last one.
    const value = headers.findLast((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === name)
    return value === undefined ? [] : [name, value]
  })
  return [...reserved, ...others]
}

/** What of the client's fields may go on. */
function endToEnd(headers: readonly string[]): string[] {
  const alsoHopByHop = nominated(headers)
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const { name, isHopByHop, isReserved } = fieldKind(headers[i] as string)
    if (isHopByHop || alsoHopByHop?.has(name) || isReserved) continue
    if (name === 'expect' || setByGateway.some(own => own === name)) continue
    const value = name === 'cookie' ? partCookies(headers[i + 1] as string).origins : headers[i + 1]
    if (value !== undefined) kept.push(headers[i] as string, value)
  }
  return kept
}

/** Upgrade and framing are of this connection, which is why they are hop-by-hop, and why they go on. */
function connectionFields(headers: readonly string[]): string[] {
  const protocol = protocolUpgradeOf(headers)
  return [
    ...(protocol === undefined ? [] : ['Connection', 'Upgrade', 'Upgrade', protocol]),
    ...(framingOf(headers) === 'chunked' ? ['Transfer-Encoding', 'chunked'] : []),
  ]
}

function count({ headers }: RequestHead, name: string): number {
  return headers.filter((field, i) => i % 2 === 0 && field.toLowerCase() === name).length
}
