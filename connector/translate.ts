/**
 * Between the external and the internal URL of an application: request target and headers on the way in, response
 * headers on the way out. Only what names the application is changed; everything else keeps its bytes.
 */

import type { Application } from '#infra/contracts/application.ts'
import { fieldKind } from '#infra/field-kinds.ts'
import { headerValue, isBelow, nominated, pathOf, setsOwnCookie } from '#infra/http.ts'

/** Where one exchange comes from and goes to, both without a trailing slash in `origin`. */
export interface Translation {
  /** As the client sees it: `https://wiki.example.com`, and `/` or `/wiki/`. */
  readonly externalOrigin: string
  readonly externalPath: string
  readonly internalOrigin: string
  readonly internalPath: string
  /** The origin's own host name goes into Host; otherwise it sees the external one. */
  readonly translatesHost: boolean
}

/** What the two URLs of an application say. */
interface UrlParts extends Pick<Translation, 'externalPath' | 'internalOrigin' | 'internalPath'> {
  readonly externalHost: string
  readonly externalProtocol: string
}

const known = new WeakMap<Application, UrlParts>()

function partsOf(application: Application): UrlParts {
  let parts = known.get(application)
  if (!parts) {
    const { externalUrl, internalUrl } = application.onPremisesPublishing
    const [external, internal] = [new URL(externalUrl), new URL(internalUrl)]
    parts = {
      externalHost: external.host,
      externalProtocol: external.protocol.slice(0, -1),
      externalPath: external.pathname,
      internalOrigin: internal.origin,
      internalPath: internal.pathname,
    }
    known.set(application, parts)
  }
  return parts
}

/** Protocol, host and port of the application's internal URL. */
export function originOf(application: Application): string {
  return partsOf(application).internalOrigin
}

/** The translation of one request, whose headers carry the external host and protocol as the gateway set them. */
export function translationOf(application: Application, headers: readonly string[]): Translation {
  const parts = partsOf(application)
  const host = headerValue(headers, 'host') ?? parts.externalHost
  const protocol = headerValue(headers, 'x-forwarded-proto') ?? parts.externalProtocol
  return {
    externalOrigin: `${protocol}://${host}`,
    externalPath: parts.externalPath,
    internalOrigin: parts.internalOrigin,
    internalPath: parts.internalPath,
    translatesHost: application.onPremisesPublishing.isTranslateHostHeaderEnabled,
  }
}

/** The target that the origin gets: the external path prefix gives way to the internal one. */
export function internalTarget(translation: Translation, target: string): string {
  return moved(target, translation.externalPath, translation.internalPath)
}

/** What lies at or below one folder, in the other; anything else stays where it is. */
function moved(target: string, from: string, to: string): string {
  if (from === to) return target
  const end = target.search(/[?#]/)
  if (!isBelow(end === -1 ? target : target.slice(0, end), from)) return target
  // The folder itself may come without its slash: /docs?page=2.
  const below = target.slice(from.length - 1).replace(/^\//, '')
  // Two slashes at the front would name a host.
  return to + (to === '/' ? below.replace(/^\/+/, '') : below)
}

/** Of the names of fields that are changed: most need not be looked at. */
const changedLengths = new Set(
  ['host', 'origin', 'referer', 'destination', 'if'].map(it => it.length),
)

/** Request headers for the origin: Host, and the fields that name the external URL (RFC 6454, RFC 4918 §10.3, §10.4). */
export function requestHeaders(translation: Translation, headers: readonly string[]): string[] {
  const { externalPath, internalPath, internalOrigin, translatesHost } = translation
  if (!translatesHost && externalPath === internalPath) return [...headers]
  const result = new Array<string>(headers.length)
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string
    const value = headers[i + 1] as string
    result[i] = name
    result[i + 1] = value
    if (!changedLengths.has(name.length)) continue
    switch (fieldKind(name).name) {
      case 'host':
        if (translatesHost) result[i + 1] = hostOf(internalOrigin)
        break
      case 'origin':
      case 'referer':
        result[i + 1] = toInternal(translation, value)
        break
      case 'destination':
        result[i + 1] = resourceToInternal(translation, value)
        break
      // What is asked of a resource that the origin does not know by this name would be asked of none.
      case 'if':
        result[i + 1] = value.replace(
          /<([^<>]*)>/g,
          (_, tag) => `<${resourceToInternal(translation, tag)}>`,
        )
        break
    }
  }
  return result
}

/** Where COPY and MOVE put something, as the origin gets it: without protocol and host (RFC 4918 §10.3). */
export function destinations(translation: Translation, headers: readonly string[]): string[] {
  if (headerValue(headers, 'destination') === undefined) return []
  return requestHeaders(translation, headers)
    .filter((_, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === 'destination')
    .map(value => value.replace(/^(?:https?:)?\/\/[^/?#]*/i, '') || '/')
}

/** Fields of a response that belong to the connection with the origin or would act on the whole external host. */
const dropped = new Set(['alt-svc', 'public-key-pins'])

/** Response headers for the client. */
export function responseHeaders(translation: Translation, headers: readonly string[]): string[] {
  const alsoHopByHop = nominated(headers)
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const spelling = headers[i] as string
    const { name, isHopByHop } = fieldKind(spelling)
    if (isHopByHop || alsoHopByHop?.has(name) || dropped.has(name)) continue
    const value = responseValue(translation, name, headers[i + 1] as string)
    if (value !== undefined) kept.push(spelling, value)
  }
  return kept
}

/** Headers of a 101 or 426: as any response, but Connection and Upgrade belong to the protocol switch (RFC 9110 §7.8). */
export function upgradeHeaders(translation: Translation, headers: readonly string[]): string[] {
  const result = responseHeaders(translation, headers)
  const protocol = headerValue(headers, 'upgrade')
  if (protocol !== undefined) result.push('Connection', 'Upgrade', 'Upgrade', protocol)
  return result
}

function responseValue(translation: Translation, name: string, value: string): string | undefined {
  switch (name) {
    case 'location':
    case 'content-location':
    case 'service-worker-allowed':
    case 'sourcemap':
      return toExternal(translation, value)
    case 'content-security-policy':
    case 'content-security-policy-report-only':
      return value.replace(/[^\s;,]+/g, source => sourceToExternal(translation, source))
    case 'access-control-allow-origin':
      return value === translation.internalOrigin ? translation.externalOrigin : value
    case 'refresh':
      return value.replace(
        /(;\s*url\s*=\s*)(['"]?)([^'"]*)(\2)/i,
        (_, before, quote, url) => `${before}${quote}${toExternal(translation, url)}${quote}`,
      )
    case 'link':
      return value.replace(/<([^<>]*)>/g, (_, url) => `<${toExternal(translation, url)}>`)
    case 'set-cookie':
      return setCookie(translation, value)
    case 'strict-transport-security':
      return translation.internalOrigin.startsWith('https:') ? value : undefined
    default:
      return value
  }
}

/**
 * A URL or path as the client may use it. Absolute URLs of the internal origin become external; those of the
 * external host get its protocol and port, which an origin behind a proxy often guesses wrong.
 */
export function toExternal(translation: Translation, value: string): string {
  const { externalOrigin, internalOrigin } = translation
  if (value.startsWith('/') && !value.startsWith('//')) return externalPathOf(translation, value)
  const absolute = splitUrl(value)
  if (!absolute) return value
  if (absolute.host === hostOf(internalOrigin)) {
    return externalOrigin + externalPathOf(translation, absolute.rest)
  }
  const externalHost = hostOf(externalOrigin)
  const isExternal = absolute.host === externalHost || absolute.host === nameOf(externalHost)
  if (!isExternal) return value
  const { rest } = absolute
  return (
    externalOrigin + (isExternalPath(translation, rest) ? rest : externalPathOf(translation, rest))
  )
}

/**
 * A source of a content security policy, which may name the origin with or without a protocol and a path (CSP Level 3,
 * §2.3.1), or where to report to. Whatever else stands in a policy is none of these.
 */
function sourceToExternal(translation: Translation, source: string): string {
  const { externalOrigin, internalOrigin } = translation
  if (source.startsWith('/')) return toExternal(translation, source)
  const [, before = '', host = '', path = ''] =
    /^((?:https?|wss?):\/\/)?([^/]+)(.*)$/i.exec(source) ?? []
  const protocol = before.toLowerCase().replace('ws', 'http') || protocolOf(internalOrigin)
  if (splitUrl(protocol + host)?.host !== hostOf(internalOrigin)) return source
  const external = protocolOf(externalOrigin)
  const shown = /^ws/i.test(before) ? external.replace('http', 'ws') : external
  return (
    (before === '' ? '' : shown) +
    hostOf(externalOrigin) +
    (path === '' ? '' : externalPathOf(translation, path))
  )
}

/** Of an origin that knows its external URL the path needs no translation: the folder would stand in it twice. */
function isExternalPath({ externalPath, internalPath }: Translation, rest: string): boolean {
  return externalPath.startsWith(internalPath) && isBelow(pathOf(rest), externalPath)
}

function toInternal(translation: Translation, value: string): string {
  const { externalOrigin, internalOrigin, translatesHost } = translation
  const shown = translatesHost ? internalOrigin : externalOrigin
  if (value === externalOrigin) return shown
  if (!value.startsWith(`${externalOrigin}/`)) return value
  return shown + internalTarget(translation, value.slice(externalOrigin.length))
}

/** A resource as WebDAV names it: by its URL or its path (RFC 4918 §8.3). */
function resourceToInternal(translation: Translation, value: string): string {
  return value.startsWith('/') ? internalTarget(translation, value) : toInternal(translation, value)
}

function externalPathOf({ externalPath, internalPath }: Translation, rest: string): string {
  const path = rest.startsWith('/') ? rest : `/${rest}`
  return moved(path, internalPath, externalPath)
}

/** Host with port (default ports left out, lower case) and everything after it; undefined unless http(s). */
function splitUrl(value: string): { host: string; rest: string } | undefined {
  const match = /^(?:(https?):)?\/\/([^/?#]+)(.*)$/i.exec(value)
  if (!match) return undefined
  const port = match[1]?.toLowerCase() === 'https' ? ':443' : ':80'
  const host = (match[2] as string).toLowerCase()
  return {
    host: host.endsWith(port) ? host.slice(0, -port.length) : host,
    rest: match[3] as string,
  }
}

function hostOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2)
}

/** With what stands between it and the host. */
function protocolOf(origin: string): string {
  return origin.slice(0, origin.indexOf('//') + 2)
}

function nameOf(host: string): string {
  return host.replace(/:\d+$/, '')
}

/**
 * A cookie for the external host: the path prefix is mapped; a Domain is dropped, which makes the cookie valid for
 * this host alone; a cookie with one of our own names is refused. Every other attribute keeps its bytes.
 */
function setCookie(translation: Translation, value: string): string | undefined {
  if (setsOwnCookie(value)) return undefined
  const [pair = '', ...attributes] = value.split(';')
  if (attributes.length === 0) return value
  // A cookie that is called so has Path=/, or browsers do not take it (RFC 6265bis §4.1.3.2).
  const isOfHost = /^\s*__host-/i.test(pair)
  const kept = attributes.flatMap(attribute => {
    // Of anything else that is called a path browsers make the folder of the request's (RFC 6265 §5.2.4).
    const path = /^(\s*path\s*=\s*)(\/.*)$/i.exec(attribute)
    if (path && !isOfHost) return [`${path[1]}${externalPathOf(translation, path[2] as string)}`]
    return /^\s*domain\s*=/i.test(attribute) ? [] : [attribute]
  })
  return [pair, ...kept].join(';')
}
