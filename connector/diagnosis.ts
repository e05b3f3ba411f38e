/**
 * Looks at the way from this connector to an application when registry asks: name, connection with its certificate, an
 * answer, sign-on. It walks the way that requests take, one diagnosis at a time, and stops where the way ends.
 */

import { lookup } from 'node:dns/promises'
import type { Bus } from '#infra/bus.ts'
import type { Application } from '#infra/contracts/application.ts'
import {
  type DiagnosisReport,
  DiagnosisRequest,
  diagnosisMs,
  type Hop,
} from '#infra/contracts/diagnosis.ts'
import { parseJson } from '#infra/json.ts'
import type { Logger } from '#infra/log.ts'
import { subjects } from '#infra/subjects.ts'
import { destinationOf } from './destination.ts'
import type { Dialer } from './dial.ts'
import type { Origins } from './origin.ts'
import type { SignOn } from './sign-on/sign-on.ts'
import { trySignOn, userOfName } from './sign-on/trial.ts'
import type { SiteVeto } from './veto/site-veto.ts'

export interface DiagnosisOptions {
  readonly bus: Bus
  readonly log: Logger
  readonly connectorId: string
  readonly memberId: string
  readonly groupId: string
  readonly applications: () => ReadonlyMap<string, Application>
  readonly dialer: Dialer
  /** Without sign-on. */
  readonly origins: Origins
  readonly signOn: SignOn
  readonly veto: SiteVeto | undefined
}

/** Less than registry waits. */
const originMs = diagnosisMs / 4

export function followDiagnoses(options: DiagnosisOptions): Disposable {
  const { bus, log, connectorId, memberId, groupId } = options
  let busy: Promise<unknown> = Promise.resolve()
  const report = async (request: DiagnosisRequest) => {
    const hops = await diagnose(options, request)
    const { diagnosisId } = request
    const found: DiagnosisReport = { diagnosisId, connectorId, hops }
    bus.publishJson(subjects.diagnosisReport(memberId), found)
  }
  const subscription = bus.subscribe(subjects.diagnosisOf(groupId), {
    callback: ({ data }) => {
      const request = parseJson(DiagnosisRequest, data, 'diagnosis')
      busy = busy
        .then(() => report(request))
        .catch(error => log.warn({ error }, 'a diagnosis failed'))
    },
  })
  return { [Symbol.dispose]: () => subscription.unsubscribe() }
}

async function diagnose(
  { applications, dialer, origins, signOn, veto }: DiagnosisOptions,
  { applicationId, user }: DiagnosisRequest,
): Promise<Hop[]> {
  const application = applications().get(applicationId)
  if (!application) {
    const fix = 'Wait a moment and ask again; if it stays so, look at the log of the registry.'
    return [failed('connector', 'it has not heard of the application', fix)]
  }
  const hops: Hop[] = []
  const steps = [
    () => permission(application, veto, user),
    () => nameOfOrigin(application),
    () => connection(application, dialer),
    () => answer(application, origins),
    () => trySignOn(application, signOn, user),
  ]
  for (const step of steps) {
    const hop = await step()
    hops.push(hop)
    if (hop.outcome === 'failed') break
  }
  return hops
}

/** What the owner of the site forbids; without a name, only whether the connector knows the application. */
function permission(
  application: Application,
  veto: SiteVeto | undefined,
  user: string | null,
): Hop {
  const known = ok('connector', 'it knows the application')
  if (user === null || !veto) return known
  const { pathname: target } = new URL(application.onPremisesPublishing.internalUrl)
  const claims = { app: application.id, user: userOfName(user) }
  const question = { method: 'GET', target, headers: [], isUpgrade: false, claims }
  const reason = veto.reasonAgainst(question)
  if (reason === undefined) return known
  return failed('connector', `the veto of its site: ${reason}`, 'Ask the owner of the site.')
}

async function nameOfOrigin(application: Application): Promise<Hop> {
  const { host } = destinationOf(application)
  try {
    const addresses = await lookup(host, { all: true })
    return ok('origin name', `${host} is ${addresses.map(({ address }) => address).join(', ')}`)
  } catch (error) {
    const fix = `Check the host of the internal URL, and the resolver of this connector's host.`
    return failed('origin name', `${host} cannot be resolved (${codeOf(error)})`, fix)
  }
}

function connection(application: Application, dialer: Dialer): Promise<Hop> {
  const destination = destinationOf(application)
  const { promise, resolve } = Promise.withResolvers<Hop>()
  const over = destination.tls ? 'TCP and TLS' : 'TCP'
  dialer.dial(
    destination,
    { protocols: ['http/1.1'] },
    {
      connected(socket) {
        socket.destroy()
        resolve(ok('origin connection', `${over} to ${destination.host}:${destination.port}`))
      },
      failed({ code, message }) {
        const fix =
          code === 'origin_unreachable'
            ? 'Check that the application runs, its port, and firewalls between it and this connector.'
            : 'Check the certificate of the application, or say with sallyport publish what to believe: --origin-ca, --origin-server-name, --origin-pin.'
        resolve(failed('origin connection', `${code}: ${message}`, fix))
      },
    },
  )
  return promise
}

/** Asks as nobody: an application that wants to know its users may well refuse. */
function answer(application: Application, origins: Origins): Promise<Hop> {
  const { promise, resolve } = Promise.withResolvers<Hop>()
  const { pathname, host } = new URL(application.onPremisesPublishing.internalUrl)
  const late = setTimeout(() => {
    abort()
    const fix = 'The application takes connections and does not answer: look at its log.'
    resolve(failed('origin', `no answer within ${originMs / 1_000} s`, fix))
  }, originMs)
  const end = (hop: Hop) => {
    clearTimeout(late)
    resolve(hop)
  }
  const request = { method: 'HEAD', target: pathname, headers: ['Host', host], body: null }
  const abort = origins.send(application, request, {
    started: () => undefined,
    information: () => undefined,
    head: status => end(ok('origin', `it answers ${pathname} with ${status}`)),
    data: () => undefined,
    end: () => undefined,
    failed: ({ code, message }) =>
      end(failed('origin', `${code}: ${message}`, 'Check what listens at the internal URL.')),
  })
  return promise
}

const ok = (hop: Hop['hop'], detail: string): Hop => ({ hop, outcome: 'ok', detail: short(detail) })

const failed = (hop: Hop['hop'], detail: string, fix: string): Hop => ({
  hop,
  outcome: 'failed',
  detail: short(detail),
  fix: short(fix),
})

const short = (text: string) => text.slice(0, 1_000)

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
