/**
 * The `html` tag: markup with every interpolated value escaped unless it is markup itself.
 * Escaping holds for text and for attribute values in double quotes; never interpolate into a tag's name, an
 * unquoted attribute, a style or a script.
 */

/** Markup that needs no escaping any more. Only the `html` tag makes it. */
export class Html {
  readonly #markup: string
  constructor(markup: string) {
    this.#markup = markup
  }
  toString(): string {
    return this.#markup
  }
}

export type Interpolation =
  | Html
  | string
  | number
  | null
  | undefined
  | false
  | readonly Interpolation[]

/** Arrays are joined; null, undefined and false leave nothing. */
export function html(strings: TemplateStringsArray, ...values: Interpolation[]): Html {
  return new Html(
    strings.reduce((markup, part, index) => markup + markupOf(values[index - 1]) + part),
  )
}

function markupOf(value: Interpolation): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Html) return value.toString()
  if (Array.isArray(value)) return value.map(markupOf).join('')
  return escapeMarkup(String(value))
}

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeMarkup(text: string): string {
  return text.replace(/[&<>"']/g, character => entities[character] ?? character)
}
