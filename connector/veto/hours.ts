/**
 * Hours of a veto file: times of day in a time zone, on certain days, across midnight if the end is not after the
 * beginning. They are judged by this host's own clock, which is the site owner's; the bus's time is not.
 */

import { z } from 'zod'

const days = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const

const TimeOfDay = z
  .string()
  .regex(/^(?:([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'must be a time of day as in 18:30')
  .transform(text => {
    const [hours = 0, minutes = 0] = text.split(':').map(Number)
    return hours * 60 + minutes
  })

export const Hours = z
  .strictObject({
    timeZone: z
      .string()
      .refine(isTimeZone, 'must be a time zone of the IANA database, as in Europe/Paris'),
    /** On which a time begins; left out, on each. */
    days: z.array(z.enum(days)).min(1, 'must name a day, or be left out').optional(),
    from: TimeOfDay,
    to: TimeOfDay,
  })
  .refine(({ from, to }) => from !== to, {
    path: ['to'],
    error: 'must differ from "from"; a whole day is from 00:00 to 24:00',
  })
export type Hours = z.output<typeof Hours>

const minuteMs = 60_000

/** Whether a moment (Unix time in ms) is within the hours. Computed once a minute. */
export function compileHours({
  timeZone,
  days: named,
  from,
  to,
}: Hours): (nowMs: number) => boolean {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'long',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const isOn = (day: number) => !named || named.includes(days[day] as (typeof days)[number])
  const isWithin = (nowMs: number) => {
    const { day, minute } = localTime(format, nowMs)
    if (from < to) return isOn(day) && minute >= from && minute < to
    const dayBefore = (day + 6) % 7
    return (isOn(day) && minute >= from) || (isOn(dayBefore) && minute < to)
  }
  let known = { minute: Number.NaN, value: false }
  return nowMs => {
    const minute = Math.floor(nowMs / minuteMs)
    if (known.minute !== minute) known = { minute, value: isWithin(nowMs) }
    return known.value
  }
}

function localTime(format: Intl.DateTimeFormat, nowMs: number): { day: number; minute: number } {
  const parts = new Map(format.formatToParts(nowMs).map(({ type, value }) => [type, value]))
  const day = days.indexOf((parts.get('weekday') ?? '').toLowerCase() as (typeof days)[number])
  return { day, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}
