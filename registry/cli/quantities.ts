/** Times and amounts as people say them. */

const minute = 60
const hour = 60 * minute
const day = 24 * hour

/** How long ago, in the largest unit that leaves at least two of it. */
export function ago(dateTime: string, nowMs = Date.now()): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(dateTime)) / 1_000))
  if (seconds < 2 * minute) return `${seconds} s ago`
  if (seconds < 2 * hour) return `${Math.round(seconds / minute)} min ago`
  if (seconds < 2 * day) return `${Math.round(seconds / hour)} h ago`
  return `${Math.round(seconds / day)} days ago`
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `0 B`, `1.4 MiB`. */
export function bytes(amount: number): string {
  let [value, unit] = [amount, 0]
  for (; value >= 1_024 && unit < units.length - 1; unit++) value /= 1_024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

const spans: Record<string, number> = { s: 1, m: minute, h: hour, d: day }

/** The time that `15m`, `2h` or `3d` ago was, or a date and time as ISO 8601 writes it. */
export function since(text: string, nowMs = Date.now()): Date | undefined {
  const [, amount, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? []
  if (amount !== undefined)
    return new Date(nowMs - Number(amount) * (spans[unit ?? ''] ?? 0) * 1_000)
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return undefined
  const date = new Date(text)
  return Number.isNaN(date.getTime()) ? undefined : date
}
