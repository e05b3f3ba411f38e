/**
 * What is measured. All targets of a case are measured in turn, round after round, so that the noise of a shared
 * machine meets them alike; only ratios within one run mean anything.
 */

export type Case = { readonly name: string; readonly about: string } & (
  | { readonly kind: 'requests'; readonly path: string; readonly connections: number }
  | { readonly kind: 'transfer'; readonly direction: 'down' | 'up'; readonly bytes: number }
  | { readonly kind: 'first-byte'; readonly path: string }
)

export const cases: readonly Case[] = [
  {
    name: 'small-json-64',
    about: '1 KiB of JSON, 64 connections kept alive',
    kind: 'requests',
    path: '/json',
    connections: 64,
  },
  {
    name: 'small-json-1',
    about: '1 KiB of JSON, one request after the other',
    kind: 'requests',
    path: '/json',
    connections: 1,
  },
  {
    name: 'page-100k-16',
    about: '100 KiB of HTML, 16 connections kept alive',
    kind: 'requests',
    path: '/page',
    connections: 16,
  },
  {
    name: 'download-512m',
    about: '512 MiB down, one client; nginx without buffering',
    kind: 'transfer',
    direction: 'down',
    bytes: 512 * 2 ** 20,
  },
  {
    name: 'upload-512m',
    about: '512 MiB up, one client; nginx without buffering',
    kind: 'transfer',
    direction: 'up',
    bytes: 512 * 2 ** 20,
  },
  {
    name: 'first-byte',
    about: 'until the first byte of an answer that goes on for 20 ms, one client',
    kind: 'first-byte',
    path: '/stream',
  },
]

/** How much is measured. */
export interface Effort {
  readonly name: 'full' | 'quick'
  readonly rounds: Record<Case['kind'], number>
  readonly seconds: number
  /** Of load on each target before anything counts: code is compiled by then, and connections are open. */
  readonly warmUpSeconds: number
  /** Part of the bytes of a transfer. */
  readonly transferShare: number
  readonly firstBytes: number
  /** No round begins later than this after the start. */
  readonly deadlineMs: number
}

export const full: Effort = {
  name: 'full',
  rounds: { requests: 9, transfer: 3, 'first-byte': 3 },
  seconds: 2,
  warmUpSeconds: 5,
  transferShare: 1,
  firstBytes: 100,
  deadlineMs: 1_200_000,
}

/** Ends within a minute. */
export const quick: Effort = {
  name: 'quick',
  rounds: { requests: 2, transfer: 1, 'first-byte': 1 },
  seconds: 1,
  warmUpSeconds: 2,
  transferShare: 1 / 8,
  firstBytes: 30,
  deadlineMs: 45_000,
}
