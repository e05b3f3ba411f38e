/**
 * Graph's conditionalAccessTimes: days of the week with hours, and spans of time, included and excluded. A time zone is
 * an offset (`+01:00`) or a name (`Europe/Paris`), which knows summer time; left out, it is UTC.
 */

import { z } from 'zod'
import { annotated, orNull, wordList } from '../graph.ts'

export const daysOfWeek = [
  'sunday',
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
] as const

const TimeZone = z
  .string()
  .trim()
  .nullish()
  .transform(zone => zone || 'UTC')
  .refine(isTimeZone, { error: 'must be an offset as in +01:00, or a name as in Europe/Paris' })

function isTimeZone(zone: string): boolean {
  if (/^[+-]\d{2}(:?\d{2})?$/.test(zone)) return true
  try {
    return new Intl.DateTimeFormat('en', { timeZone: zone }) !== undefined
  } catch {
    return false
  }
}

const TimeOfDay = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?$/, 'must be a time of day, as in 08:30:00')

/** Without an offset of its own: the time zone beside it says what it means. */
const LocalDateTime = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?$/, 'must be as in 2026-12-24T18:00:00')
  .refine(value => !Number.isNaN(Date.parse(`${value}Z`)), { error: 'is no such day or time' })

/** From `startTime` up to, not including, `endTime`; over midnight when it ends before it begins. */
const Days = annotated(
  z.strictObject({
    daysOfWeek: wordList(daysOfWeek),
    allDay: z
      .boolean()
      .nullish()
      .transform(allDay => allDay ?? false),
    startTime: orNull(TimeOfDay),
    endTime: orNull(TimeOfDay),
    timeZone: TimeZone,
  }),
)
export type Days = z.output<typeof Days>

const Range = annotated(
  z
    .strictObject({ startDateTime: LocalDateTime, endDateTime: LocalDateTime, timeZone: TimeZone })
    .refine(({ startDateTime, endDateTime }) => startDateTime < endDateTime, {
      path: ['endDateTime'],
      error: 'must be later than startDateTime',
    }),
)
export type Range = z.output<typeof Range>

export const Times = annotated(
  z.strictObject({
    allTimes: z
      .boolean()
      .nullish()
      .transform(allTimes => allTimes ?? false),
    includeDays: orNull(Days),
    excludeDays: orNull(Days),
    includeRange: orNull(Range),
    excludeRange: orNull(Range),
  }),
)
export type Times = z.output<typeof Times>

export interface TimesProblem {
  readonly path: readonly string[]
  readonly message: string
}

/**
 * What is refused where it enters, beyond the form. What rests in the bucket is not held to it: it may be older than
 * this, and a policy that cannot be read keeps everybody out.
 */
export function problemsOfTimes(times: Times | null): TimesProblem[] {
  if (!times) return []
  const { includeDays, excludeDays, includeRange, excludeRange } = times
  const parts = Object.entries({ includeDays, excludeDays, includeRange, excludeRange })
  return parts.flatMap(([name, part]) => {
    const problems = part ? [...problemsOfZone(part), ...problemsOfRange(part)] : []
    return problems.map(({ path, message }) => ({ path: [name, ...path], message }))
  })
}

function problemsOfZone({ timeZone }: Days | Range): TimesProblem[] {
  const [, hours = '', minutes = ''] = /^[+-](\d{2}):?(\d{2})?$/.exec(timeZone) ?? []
  if (Number(hours) < 24 && Number(minutes) < 60) return []
  return [{ path: ['timeZone'], message: 'must be less than a day from UTC, as in +01:00' }]
}

function problemsOfRange(part: Days | Range): TimesProblem[] {
  if (!('startDateTime' in part)) return []
  const { startDateTime, endDateTime } = part
  const invented = Object.entries({ startDateTime, endDateTime }).filter(([, at]) => !isDay(at))
  if (invented.length > 0)
    return invented.map(([name]) => ({ path: [name], message: 'is no such day' }))
  // 10:00 stands before 10:00:00 in the order of texts, which has been looked at.
  if (Date.parse(`${startDateTime}Z`) !== Date.parse(`${endDateTime}Z`)) return []
  return [{ path: ['endDateTime'], message: 'must be later than startDateTime' }]
}

/** JavaScript takes the 30th of February for the 2nd of March. */
function isDay(dateTime: string): boolean {
  const day = dateTime.slice(0, 10)
  const ms = Date.parse(`${day}T00:00Z`)
  // That it is none in any month has been said.
  return Number.isNaN(ms) || new Date(ms).toISOString().startsWith(day)
}
