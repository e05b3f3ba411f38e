/**
 * Just enough browser, without a browser: cookies per host, redirects across hosts, forms, sign-in. It speaks
 * through node:http because fetch can neither set Host nor resolve `*.localhost`; those go to 127.0.0.1.
 * `request` and `open` send exactly one request; `visit` and `submit` behave as a navigation does.
 */

import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { buffer } from 'node:stream/consumers'
import { CookieJar } from './cookie-jar.ts'
import { findForm, formEntries } from './forms.ts'

export interface RequestOptions {
  method?: string
  headers?: Record<string, string | string[]>
  body?: string | Buffer | URLSearchParams | FormData
  signal?: AbortSignal
}

export interface Opened {
  url: string
  status: number
  /** In the order and case in which they came. */
  headers: [string, string][]
  header(name: string): string | undefined
  stream: IncomingMessage
}

export interface Answer extends Omit<Opened, 'stream'> {
  body: Buffer
  text: string
}

export interface UserAgentOptions {
  /** Where to connect for a URL, when that is not where its host name leads. */
  connectTo?: (url: URL) => { host: string; port: number } | undefined
  /** Certificate authorities to trust instead of the system's. */
  ca?: string | Buffer
}

const maxRedirects = 20

export class UserAgent implements Disposable {
  readonly cookies = new CookieJar()
  readonly #options: UserAgentOptions
  readonly #plain = new http.Agent({ keepAlive: true })
  readonly #secure = new https.Agent({ keepAlive: true })

  constructor(options: UserAgentOptions = {}) {
    this.#options = options
  }

  /** One request; the answer's body is left to be read as it comes. */
  async open(url: string, options: RequestOptions = {}): Promise<Opened> {
    const at = new URL(url)
    const { headers, body } = await this.#prepare(at, options)
    const stream = await this.#send(at, { ...options, headers }, body)
    const pairs = pairsOf(stream.rawHeaders)
    for (const [name, value] of pairs)
      if (name.toLowerCase() === 'set-cookie') this.cookies.set(value, at)
    return {
      url: at.href,
      status: stream.statusCode ?? 0,
      headers: pairs,
      header: name => pairs.find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1],
      stream,
    }
  }

  /** One request and its whole answer. Redirects are not followed. */
  async request(url: string, options: RequestOptions = {}): Promise<Answer> {
    const { stream, ...answer } = await this.open(url, options)
    const body = await buffer(stream)
    return { ...answer, body, text: body.toString() }
  }

  /** A navigation, redirects followed. `from` is the page that leads there; without it the address was typed. */
  async visit(url: string, options: RequestOptions & { from?: string } = {}): Promise<Answer> {
    const { from, ...first } = options
    let step: RequestOptions = first
    let next = url
    const hops = from === undefined ? [] : [from]
    for (let count = 0; count <= maxRedirects; count++) {
      const headers = { ...navigationHeaders(hops, next, step.method), ...step.headers }
      const answer = await this.request(next, { ...step, headers })
      const location = answer.header('location')
      if (!isRedirect(answer.status) || location === undefined) return answer
      if (from !== undefined) hops.push(next)
      next = new URL(location, next).href
      if (answer.status !== 307 && answer.status !== 308) step = { headers: withoutBody(step) }
    }
    throw new Error(`more than ${maxRedirects} redirects from ${url}`)
  }

  /**
   * Submits a form of the page with its own values and the ones given; what the page hides comes along. `form` is
   * a part of the form's action, for pages with several.
   */
  submit(
    page: Answer,
    fields: Record<string, string> = {},
    options: { form?: string } = {},
  ): Promise<Answer> {
    const form = findForm(page.text, options.form)
    if (!form)
      throw new Error(`no form at ${page.url} (${page.status}): ${page.text.slice(0, 400)}`)
    const entries = new URLSearchParams({ ...Object.fromEntries(formEntries(form)), ...fields })
    const target = new URL(form.action, page.url)
    if (form.method !== 'post') {
      target.search = entries.toString()
      return this.visit(target.href, { from: page.url })
    }
    return this.visit(target.href, { from: page.url, method: 'POST', body: entries })
  }

  /** Opens `url` and signs in on the way, if anybody asks. Ends on the page that was asked for, or throws. */
  async signIn(
    url: string,
    user: string,
    password: string,
    second: { code?: string } = {},
  ): Promise<Answer> {
    let page = await this.visit(url)
    if (hasPasswordField(page))
      page = await this.submit(page, { ...nameField(page, user), password })
    if (second.code !== undefined && /name="code"/.test(page.text))
      page = await this.submit(page, { code: second.code })
    if (hasPasswordField(page) || /name="code"/.test(page.text))
      throw new Error(`signing in as ${user} ended at ${page.url} with ${page.status}`)
    return page
  }

  [Symbol.dispose](): void {
    this.#plain.destroy()
    this.#secure.destroy()
  }

  async #prepare(url: URL, { headers = {}, body }: RequestOptions) {
    const cookie = this.cookies.header(url)
    const sent: Record<string, string | string[]> = { host: url.host, ...(cookie && { cookie }) }
    if (body === undefined) return { headers: { ...sent, ...headers }, body: undefined }
    const encoded = new Response(body as ConstructorParameters<typeof Response>[0])
    const bytes = Buffer.from(await encoded.arrayBuffer())
    const type = encoded.headers.get('content-type')
    if (type && typeof body !== 'string') sent['content-type'] = type
    sent['content-length'] = String(bytes.length)
    return { headers: { ...sent, ...headers }, body: bytes }
  }

  #send(url: URL, options: RequestOptions, body: Buffer | undefined): Promise<IncomingMessage> {
    const isSecure = url.protocol === 'https:'
    const isLocal = url.hostname === 'localhost' || url.hostname.endsWith('.localhost')
    const known = this.#options.connectTo?.(url)
    const settings: https.RequestOptions = {
      method: options.method ?? 'GET',
      path: url.pathname + url.search,
      host: known?.host ?? (isLocal ? '127.0.0.1' : url.hostname),
      port: known?.port ?? (url.port || (isSecure ? 443 : 80)),
      servername: url.hostname,
      headers: options.headers ?? {},
      agent: isSecure ? this.#secure : this.#plain,
      ...(this.#options.ca !== undefined && { ca: this.#options.ca }),
      ...(options.signal && { signal: options.signal }),
    }
    return new Promise((resolve, reject) => {
      const request = (isSecure ? https : http).request(settings, resolve)
      request.once('error', reject).end(body)
    })
  }
}

/** What a browser says of a navigation: how its origin relates to every page that led there (Fetch Metadata). */
function navigationHeaders(hops: string[], url: string, method = 'GET'): Record<string, string> {
  const [from] = hops
  const relations = hops.map(hop => relation(new URL(hop), new URL(url)))
  const site = ['cross-site', 'same-site', 'same-origin'].find(it => relations.includes(it))
  return {
    accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8',
    'sec-fetch-mode': 'navigate',
    'sec-fetch-dest': 'document',
    'sec-fetch-site': site ?? 'none',
    ...(from !== undefined && method !== 'GET' && { origin: new URL(from).origin }),
  }
}

function relation(a: URL, b: URL): string {
  if (a.origin === b.origin) return 'same-origin'
  const site = (url: URL) => url.protocol + url.hostname.split('.').slice(-2).join('.')
  return site(a) === site(b) ? 'same-site' : 'cross-site'
}

function withoutBody({ headers = {} }: RequestOptions): Record<string, string | string[]> {
  const kept = Object.entries(headers).filter(([name]) => !/^(?:content-.*|origin)$/i.test(name))
  return Object.fromEntries(kept)
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

function pairsOf(raw: string[]): [string, string][] {
  return raw.flatMap((name, index) =>
    index % 2 === 0 ? [[name, raw[index + 1] ?? ''] as [string, string]] : [],
  )
}

function hasPasswordField(page: Answer): boolean {
  return /<input[^>]*type="password"/.test(page.text)
}

function nameField(page: Answer, user: string): Record<string, string> {
  const form = findForm(page.text)
  const field = form?.controls.find(control => control.type === 'text' || control.type === 'email')
  return { [field?.name ?? 'username']: user }
}
