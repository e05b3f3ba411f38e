/** What readers wrote, the latest first, in memory and bounded. */

export interface FeedbackEntry {
  name: string
  message: string
  at: Date
}

export interface Feedback {
  list(): readonly FeedbackEntry[]
  /** Answers what is wrong with it, or undefined when it was taken. */
  add(fields: URLSearchParams): string | undefined
}

const maxEntries = 50

export function openFeedback(): Feedback {
  let entries: FeedbackEntry[] = [
    {
      name: 'Ingrid, front desk',
      message: 'The visitors page should say that badges go back to me in the evening.',
      at: new Date('2026-02-11T09:12:00Z'),
    },
  ]
  return {
    list: () => entries,
    add(fields) {
      const message = (fields.get('message') ?? '').trim()
      const name = (fields.get('name') ?? '').trim().slice(0, 80) || 'Somebody'
      if (message === '') return 'There was nothing in it. Write a few words and send it again.'
      if (message.length > 2_000) return 'That is too long. Please say it in 2,000 characters.'
      entries = [{ name, message, at: new Date() }, ...entries].slice(0, maxEntries)
      return undefined
    },
  }
}
