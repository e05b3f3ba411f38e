/**
 * The Kerberos helper: a process of its own, started by helper-process.ts, that holds the keytab's tickets. It ends
 * with its connector. Its environment names no default identity, and is not read here.
 */

import { detailOf } from '#infra/errors.ts'
import type { Credentials, TokenRequest } from './credentials.ts'
import { GssError } from './gss-error.ts'
import type { Failure, FromHelper, HelperOptions, ToHelper } from './protocol.ts'
import { wrapInitial } from './spnego.ts'

let started: Promise<Credentials> | undefined

async function start(options: HelperOptions): Promise<Credentials> {
  const { Credentials } = await import('./credentials.ts').catch(error => {
    const detail = detailOf(error)
    throw new GssError({ reason: 'library_missing', detail })
  })
  return new Credentials(options)
}

type Asked = Extract<ToHelper, { id: number }>

async function answer(credentials: Credentials, message: Asked): Promise<FromHelper> {
  const { id } = message
  switch (message.type) {
    case 'check': {
      const deadline = performance.now() + message.timeoutMs
      return { type: 'checked', id, principal: await credentials.checkService(deadline) }
    }
    case 'token': {
      const { user, spn, format, timeoutMs } = message
      const request: TokenRequest = { user, spn, deadline: performance.now() + timeoutMs }
      const { token, context } = await credentials.token(request)
      return { type: 'token', id, token: format === 'spnego' ? wrapInitial(token) : token, context }
    }
    case 'verify': {
      const isGenuine = await credentials.verify(message.context, message.reply)
      return { type: 'verified', id, isGenuine }
    }
  }
}

function failureOf(error: unknown): Failure {
  if (error instanceof GssError) return error.failure
  return { reason: 'gss_failure', detail: detailOf(error) }
}

async function take(message: ToHelper): Promise<void> {
  if (message.type === 'start') {
    started = start(message.options)
    return
  }
  if (!started) throw new TypeError('not started')
  if ('id' in message) {
    const reply = await started
      .then(credentials => answer(credentials, message))
      .catch((error): FromHelper => {
        return { type: 'failed', id: message.id, failure: failureOf(error) }
      })
    process.send?.(reply)
    return
  }
  const credentials = await started
  if (message.type === 'release') credentials.release(message.context)
  else if (message.type === 'network') credentials.lanes.isUp = message.isUp
  else if (message.type === 'clock') credentials.kdcTimeIs(message.kdcTimeMs)
  else {
    credentials.forget(message.user)
    if (message.isServiceToo) credentials.forgetService()
  }
}

process.on('message', (message: ToHelper) => {
  // What cannot be started answers each question with its failure.
  take(message).catch(() => undefined)
})
// A thread that waits for a dead KDC would hold up a polite end.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
