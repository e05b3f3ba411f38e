/**
 * Which methods an application takes. Left alone it takes every one that HTTP software commonly knows: those of
 * RFC 9110, PATCH, QUERY, WebDAV's and a few more. A list takes those alone, and may name any other method
 * (RFC 9110 §9.1: the set is open), among them the Remote Desktop Gateway's.
 */

import { METHODS } from 'node:http'
import { z } from 'zod'
import { headerValue } from '../http.ts'

/** CONNECT asks for a tunnel to a host of the client's choice, TRACE returns what was added on the way. */
const never = new Set(['CONNECT', 'TRACE'])

const known: ReadonlySet<string> = new Set(METHODS.filter(method => !never.has(method)))

const any = '*'
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/

export function isMethod(value: string): boolean {
  return token.test(value)
}

const AllowedMethod = z
  .string()
  .regex(token, 'must be HTTP methods such as "GET" or "PROPFIND", or "*" for any method')
  .refine(method => !never.has(method), { error: 'must not name CONNECT or TRACE' })

/** Null: the methods that are commonly known. */
export const AllowedHttpMethods = z
  .array(AllowedMethod)
  .min(1, { error: 'must name at least one method, or be null for those that are commonly known' })
  .max(100)
  .nullable()
export type AllowedHttpMethods = z.output<typeof AllowedHttpMethods>

export function allowsMethod(allowed: AllowedHttpMethods, method: string): boolean {
  if (allowed === null) return known.has(method)
  return !never.has(method) && (allowed.includes(method) || allowed.includes(any))
}

/** For the header Allow (RFC 9110 §10.2.1). */
export function allowHeader(allowed: AllowedHttpMethods = null): string {
  const methods = allowed === null || allowed.includes(any) ? known : allowed
  return [...methods].join(', ')
}

/** `safe`: sure to change nothing. */
export const methodClasses = ['safe', 'unsafe'] as const
export type MethodClass = (typeof methodClasses)[number]

/** Methods that change nothing (RFC 9110 §9.2.1, and QUERY, WebDAV's and its versioning's). */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY', 'PROPFIND', 'REPORT', 'SEARCH'])

/** By which clients have some frameworks take a request for one of another method. */
const methodOverrides = ['x-http-method-override', 'x-http-method', 'x-method-override']

export interface MethodQuestion {
  readonly method: string
  readonly headers: readonly string[]
  /** It switches protocols, or goes on as raw bytes: nothing later can be held to a method. */
  readonly isUpgrade: boolean
}

export function methodClassOf({ method, headers, isUpgrade }: MethodQuestion): MethodClass {
  if (isUpgrade || !safeMethods.has(method)) return 'unsafe'
  const isOverridden = methodOverrides.some(name => headerValue(headers, name) !== undefined)
  return isOverridden ? 'unsafe' : 'safe'
}
