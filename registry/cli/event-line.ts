/**
 * An audit event as one line for people: time, verdict, user, application, connector, what was asked, status, duration,
 * and of what was not granted the support id and the reason. Columns keep their place; what does not fit is clipped
 * (`--json` has everything).
 */

import { styleText } from 'node:util'
import { AuditEvent } from '#infra/contracts/audit.ts'
import { clip, printable } from './text.ts'

interface Cells {
  user: string | null
  application: string | null
  connector: string | null
  action: string
  status?: number | null
  durationMs?: number | null
  reason: string
}

const widths = { verdict: 10, user: 26, application: 16, connector: 20, action: 40 } as const

const wentWell = new Set<string>(['granted', 'grant', 'succeeded', 'signed-out', 'revoked'])

const colours = {
  green: 'granted succeeded grant started active created enrolled renewed enabled',
  red: 'denied failed block revoked refused inactive lost cut_off',
  yellow: 'challenged challenge aborted draining stopped signed-out removed deleted moved disabled',
}

/** `data` is the event as it came, `subject` where it came: an event that is not understood is shown too. */
export function eventLine(data: unknown, subject: string, isColoured: boolean): string {
  const event = AuditEvent.safeParse(data)
  if (!event.success) return `${printable(subject)}  (an event of a kind that is not known here)`
  const { time, outcome } = event.data
  const cells = cellsOf(event.data)
  const columns = [
    clockTime(time),
    coloured(outcome, outcome.padEnd(widths.verdict), isColoured),
    cell(cells.user, widths.user),
    cell(cells.application, widths.application),
    cell(cells.connector, widths.connector),
    cell(cells.action, widths.action),
    String(cells.status ?? '-').padStart(3),
    duration(cells.durationMs).padStart(9),
    ...supportIdOf(event.data),
    printable(cells.reason),
  ]
  return columns.join('  ').trimEnd()
}

function cellsOf(event: AuditEvent): Cells {
  const { user, application } = event
  switch (event.category) {
    case 'access': {
      const { connector, method, path, status, durationMs, decision, fault, outcome } = event
      const granted = event.lastLease ? 'by its last lease' : ''
      const isDecision = outcome !== 'granted' && decision && decision.outcome !== 'grant'
      const said = isDecision ? decision.reasons.join(', ') : ''
      const reason = outcome === 'granted' ? granted : [fault, said].filter(Boolean).join(': ')
      return {
        user,
        application,
        connector,
        action: `${method} ${path}`,
        status,
        durationMs,
        reason,
      }
    }
    case 'sign-in':
      return {
        user,
        application,
        connector: null,
        action: 'sign-in',
        reason: event.reasons.join(', '),
      }
    case 'policy': {
      const { decision, durationMs } = event
      const reason = decision?.reasons.join(', ') ?? ''
      const action = event.outcome === 'revoked' ? 'every session' : 'policy'
      return { user, application, connector: null, action, durationMs, reason }
    }
    case 'connector': {
      const { connector, connectorGroup, machineName, version } = event
      const place = `on ${machineName}, version ${version}`
      const reason = event.reason ? `${event.reason}; ${place}` : place
      return { user, application, connector, action: `connector of ${connectorGroup}`, reason }
    }
    case 'admin': {
      const { actor, resource, changed } = event
      return {
        user: actor,
        application,
        connector: null,
        action: resource,
        reason: changed.join(', '),
      }
    }
  }
}

function cell(value: string | null, width: number): string {
  return clip(printable(value || '-'), width).padEnd(width)
}

/** What `sallyport explain` knows it by. */
function supportIdOf({ category, outcome, requestId }: AuditEvent): string[] {
  const isOfUser = category === 'access' || category === 'policy' || category === 'sign-in'
  return isOfUser && requestId && !wentWell.has(outcome) ? [printable(requestId)] : []
}

/** Local time, with milliseconds: `14:05:09.123`, and with the day when that is another one than today. */
function clockTime(time: string): string {
  const date = new Date(time)
  const milliseconds = String(date.getMilliseconds()).padStart(3, '0')
  const isToday = date.toDateString() === new Date().toDateString()
  const two = (number: number) => String(number).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
  return `${isToday ? '' : day}${date.toTimeString().slice(0, 8)}.${milliseconds}`
}

function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-'
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

function coloured(outcome: string, text: string, isColoured: boolean): string {
  if (!isColoured) return text
  for (const [colour, outcomes] of Object.entries(colours)) {
    if (!outcomes.split(' ').includes(outcome)) continue
    return styleText(colour as keyof typeof colours, text, { validateStream: false })
  }
  return text
}
