/** Condition `times`: days of the week with hours, and spans of time, in a time zone. */

import type { Days, Range, Times } from '#infra/contracts/conditional-access/times.ts'
import { daysOfWeek } from '#infra/contracts/conditional-access/times.ts'
import { type Condition, within } from './condition.ts'

const minuteMs = 60_000
const dayMs = 86_400_000

export const times: Condition = {
  reasons: { met: 'time-in-scope', unmet: 'time-not-in-scope' },
  analysis: 'time',
  compile({ times: condition }) {
    if (!condition || condition.allTimes || !saysAnything(condition)) return undefined
    let last: { second: number; answer: boolean | undefined } | undefined
    return ({ nowMs }) => {
      // Everything in the condition is in whole seconds.
      const second = Math.floor(nowMs / 1_000)
      if (last?.second !== second) last = { second, answer: isWithin(condition, second * 1_000) }
      return last.answer
    }
  },
  /** The next full minute: nothing here changes in between. */
  changesAt({ times: condition }, nowMs) {
    if (!condition || condition.allTimes || !saysAnything(condition))
      return Number.POSITIVE_INFINITY
    return (Math.floor(nowMs / minuteMs) + 1) * minuteMs
  },
}

function isWithin(condition: Times, nowMs: number): boolean | undefined {
  const { includeDays, excludeDays, includeRange, excludeRange } = condition
  const isNothingIncluded = !includeDays && !includeRange
  return within(
    isNothingIncluded || isWithinDays(includeDays, nowMs) || isWithinRange(includeRange, nowMs),
    isWithinDays(excludeDays, nowMs) || isWithinRange(excludeRange, nowMs),
  )
}

function saysAnything({ includeDays, excludeDays, includeRange, excludeRange }: Times): boolean {
  return Boolean(includeDays || excludeDays || includeRange || excludeRange)
}

function isWithinDays(days: Days | null, nowMs: number): boolean {
  if (!days) return false
  const localMs = nowMs + offsetMs(days.timeZone, nowMs)
  const timeMs = localMs % dayMs
  const today = new Date(localMs).getUTCDay()
  const isOn = (day: number) => {
    const name = daysOfWeek[(day + 7) % 7]
    return days.daysOfWeek.length === 0 || (name !== undefined && days.daysOfWeek.includes(name))
  }
  const start = days.allDay ? 0 : timeOfDayMs(days.startTime, 0)
  const end = days.allDay ? dayMs : timeOfDayMs(days.endTime, dayMs)
  if (start < end) return isOn(today) && timeMs >= start && timeMs < end
  // Over midnight: the evening of a day, and the morning after it.
  return (isOn(today) && timeMs >= start) || (isOn(today - 1) && timeMs < end)
}

function timeOfDayMs(time: string | null, otherwise: number): number {
  return time === null ? otherwise : Date.parse(`1970-01-01T${time.padEnd(8, ':00')}Z`)
}

function isWithinRange(range: Range | null, nowMs: number): boolean {
  if (!range) return false
  const localMs = nowMs + offsetMs(range.timeZone, nowMs)
  return (
    localMs >= Date.parse(`${range.startDateTime}Z`) &&
    localMs < Date.parse(`${range.endDateTime}Z`)
  )
}

/** Offsets of named zones change at full quarters of an hour at most, and asking for one is dear. */
const quarterMs = 15 * minuteMs
const known = new Map<string, { quarter: number; offset: number }>()

function offsetMs(zone: string, nowMs: number): number {
  const [, sign, hours, minutes = '0'] = /^([+-])(\d{2}):?(\d{2})?$/.exec(zone) ?? []
  if (sign) return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * minuteMs
  const quarter = Math.floor(nowMs / quarterMs)
  const remembered = known.get(zone)
  if (remembered?.quarter === quarter) return remembered.offset
  const offset = namedOffsetMs(zone, quarter * quarterMs)
  known.set(zone, { quarter, offset })
  return offset
}

function namedOffsetMs(timeZone: string, atMs: number): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
  })
  const parts = Object.fromEntries(
    format.formatToParts(atMs).map(({ type, value }) => [type, Number(value)]),
  )
  const { year = 0, month = 1, day, hour, minute } = parts
  return Date.UTC(year, month - 1, day, hour, minute) - atMs
}
