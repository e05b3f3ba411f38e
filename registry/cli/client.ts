/**
 * The admin API as the command line uses it: finds the system, sends the token, follows pages, and says in plain words
 * what went wrong. The token comes from the environment or a file, never from the command line, which every user of
 * the machine can read; it is sent to the system's own address only.
 */

import { readFileSync } from 'node:fs'
import { z } from 'zod'
import type { Environment } from '#infra/config.ts'
import { detailOf } from '#infra/errors.ts'
import { CommandFailure, UsageError } from './failure.ts'

export interface ConnectionOptions {
  adminUrl?: string
  adminTokenFile?: string
}

/** Where a registry listens unless it is told otherwise. */
const defaultAdminUrl = 'http://127.0.0.1:8081'
const deadlineMs = 15_000

/** Of the admin API: problems of others lack the form of Graph. */
const Problem = z.object({
  detail: z.string(),
  code: z.string(),
  error: z.object({ code: z.string() }),
  errors: z.array(z.object({ property: z.string(), message: z.string() })).default([]),
})

/** The system said no; `code` is the fault. */
export class RefusedBySystem extends CommandFailure {
  override name = 'RefusedBySystem'
  readonly status: number
  readonly code: string
  /** What is wrong with which property. */
  readonly problems: z.output<typeof Problem>['errors']
  constructor(
    status: number,
    code: string,
    message: string,
    problems: z.output<typeof Problem>['errors'],
  ) {
    super(message)
    this.status = status
    this.code = code
    this.problems = problems
  }
}

export interface Call<Answer extends z.ZodType> {
  method?: string
  /** Below `/v1.0`. */
  path: string
  body?: unknown
  headers?: Record<string, string>
  answer: Answer
}

export class AdminClient {
  readonly #base: URL
  readonly #token: string

  constructor(base: URL, token: string) {
    this.#base = base
    this.#token = token
  }

  /** One request; its answer is checked against the schema. */
  async call<Answer extends z.ZodType>(call: Call<Answer>): Promise<z.output<Answer>> {
    const { method = 'GET', path, body, headers = {}, answer } = call
    refuseDots(path)
    const response = await this.#send(new URL(`/v1.0${path}`, this.#base), {
      method,
      headers: {
        ...headers,
        authorization: `Bearer ${this.#token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw refusal(response.status, text) ?? this.#isNoRegistry(response)
    const result = answer.safeParse(text === '' ? undefined : asJson(text))
    if (result.success) return result.data
    throw this.#isNoRegistry(response)
  }

  /** Gateways have the address that people know, so theirs is soon taken for the registry's. */
  #isNoRegistry({ status, headers }: Response): CommandFailure {
    const { origin } = this.#base
    const what = headers.has('sallyport-request-id')
      ? `a gateway answers at ${origin}, and no registry`
      : `what answers at ${origin} is no registry (status ${status})`
    return new CommandFailure(`${what}: set SALLYPORT_ADMIN_URL to the address of the admin API`)
  }

  /** Undefined when there is no such resource. */
  async find<Answer extends z.ZodType>(call: Call<Answer>): Promise<z.output<Answer> | undefined> {
    try {
      return await this.call(call)
    } catch (error) {
      if (error instanceof RefusedBySystem && error.status === 404) return undefined
      throw error
    }
  }

  /** Every item of a list, page by page. */
  async list<Item extends z.ZodType>(path: string, item: Item): Promise<z.output<Item>[]> {
    const answer = z.object({ value: z.array(item), '@odata.nextLink': z.string().optional() })
    const all: z.output<Item>[] = []
    for (let next: string | undefined = path; next !== undefined; ) {
      const page: z.output<typeof answer> = await this.call({ path: next, answer })
      all.push(...page.value)
      const link: string | undefined = page['@odata.nextLink']
      next = link === undefined ? undefined : belowVersion(link)
    }
    return all
  }

  async #send(url: URL, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, {
        ...init,
        redirect: 'manual',
        signal: AbortSignal.timeout(deadlineMs),
      })
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
      const code = (cause as NodeJS.ErrnoException).code
      const reason = code ?? detailOf(cause)
      const isPlain = reason === 'ERR_SSL_WRONG_VERSION_NUMBER'
      throw new CommandFailure(
        isPlain
          ? `what answers at ${url.origin} speaks no TLS: set SALLYPORT_ADMIN_URL to an http:// address`
          : `no system answers at ${url.origin} (${reason}): is it running? set SALLYPORT_ADMIN_URL`,
      )
    }
  }
}

/** URLs leave out what these names stand for, and would lead elsewhere. */
function refuseDots(path: string): void {
  const [dots] = /(?<=\/)\.{1,2}(?=[/?]|$)/.exec(path) ?? []
  if (dots !== undefined) throw new UsageError(`"${dots}" is not a name that anything has here`)
}

/** The system named by options or environment. */
export function connectAdmin(options: ConnectionOptions, environment: Environment): AdminClient {
  const given = options.adminUrl ?? (environment.SALLYPORT_ADMIN_URL || defaultAdminUrl)
  const base = URL.parse(given)
  if (!base || !/^https?:$/.test(base.protocol)) {
    throw new UsageError(`the system's address must be an http:// or https:// URL, not "${given}"`)
  }
  if (base.username !== '' || base.password !== '') {
    throw new UsageError('the address must hold no user and no password; use --admin-token-file')
  }
  return new AdminClient(base, adminToken(options, environment))
}

function adminToken({ adminTokenFile }: ConnectionOptions, environment: Environment): string {
  const file = adminTokenFile ?? environment.SALLYPORT_ADMIN_TOKEN_FILE
  const token = file ? readSecret(file) : environment.SALLYPORT_ADMIN_TOKEN
  if (!token) {
    throw new UsageError(
      'set SALLYPORT_ADMIN_TOKEN, or give --admin-token-file: the token is missing',
    )
  }
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw new UsageError('the token must be printable ASCII characters without spaces')
}

/** Content of a file without its last line break. */
export function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new UsageError(`${path} cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** A link to the next page leads to the same system, whatever host stands in it. */
function belowVersion(link: string): string {
  const { pathname, search } = new URL(link)
  return `${pathname.replace(/^\/v1\.0/, '')}${search}`
}

/** Undefined when no admin API says it. */
function refusal(status: number, text: string): CommandFailure | undefined {
  const problem = Problem.safeParse(asJson(text))
  if (!problem.success) return undefined
  const { detail, code, errors } = problem.data
  const lines = errors.map(({ property, message }) => `  ${property}: ${message}`)
  const message = errors.length > 1 ? ['refused:', ...lines].join('\n') : detail
  return new RefusedBySystem(status, code, message, errors)
}

function asJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
