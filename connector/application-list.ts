/**
 * Reads the whole list of a group's applications from registry, page by page. Several registries may answer, and the
 * list may change between two pages: what has changed since the oldest page is asked for at the end, so that all of
 * the list is of one version. Who reads gets that or an error, never a part.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type {
  Application,
  ApplicationPage,
  ApplicationsReply,
  ApplicationsRequest,
} from '#infra/contracts/application.ts'
import { SallyportError } from '#infra/errors.ts'

export type Ask = (request: ApplicationsRequest) => Promise<ApplicationsReply>

export interface ApplicationList {
  readonly version: number
  readonly applications: ReadonlyMap<string, Application>
}

/** A registry that is a moment behind another one is asked once more, so often and after so long. */
const maxAttempts = 10
const retryMs = 100

/** Reads on from the first page, until the list is at least as new as all of its pages and as `atLeast` says. */
export async function readList(
  ask: Ask,
  first: ApplicationPage,
  atLeast: () => number,
): Promise<ApplicationList> {
  const applications = new Map<string, Application>()
  let [oldest, newest] = [first.version, first.version]
  for await (const page of pagesFrom(ask, first)) {
    for (const application of page.applications) applications.set(application.id, application)
    oldest = Math.min(oldest, page.version)
    newest = Math.max(newest, page.version)
  }
  let version = oldest
  for (let attempt = 1; version < Math.max(newest, atLeast()); attempt++) {
    const reply = await ask({ since: version })
    // Registry does not remember so much any more.
    if (reply.kind === 'page') return readList(ask, reply, atLeast)
    for (const application of reply.changed) applications.set(application.id, application)
    for (const id of reply.removed) applications.delete(id)
    if (reply.version > version) attempt = 0
    else if (attempt >= maxAttempts) throw notUnderstood('the version of its pages is unknown')
    else await sleep(retryMs, undefined, { ref: false })
    version = Math.max(version, reply.version)
  }
  return { version, applications }
}

async function* pagesFrom(ask: Ask, first: ApplicationPage): AsyncIterable<ApplicationPage> {
  for (let page = first; ; ) {
    yield page
    if (page.isLast) return
    const last = page.applications.at(-1)
    if (!last) throw notUnderstood('a page that is not the last one is empty')
    const reply = await ask({ after: last.id })
    if (reply.kind !== 'page') throw notUnderstood('no page was given')
    page = reply
  }
}

function notUnderstood(detail: string): SallyportError {
  return new SallyportError('protocol_error', `registry's list of applications: ${detail}`)
}
