/**
 * Text for terminals. What is printed comes from strangers too (paths, names), so nothing that could steer a terminal
 * gets through.
 */

/** Control and format characters as escapes: a path must not move the cursor, nor turn the direction of writing. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    character => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  )
}

/** At most `width` characters, with a mark where something is missing. */
export function clip(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}

/** Columns as wide as their widest cell, under a line of headings. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headings, ...rows.map(row => row.map(printable))]
  const widths = headings.map((_, column) =>
    Math.max(...lines.map(line => (line[column] ?? '').length)),
  )
  return lines
    .map(line => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .map(line => `${line.trimEnd()}\n`)
    .join('')
}

export function print(text: string): void {
  process.stdout.write(text)
}

/** The answer of a command that has done something: for programs what it was done to, for people a sentence. */
export function tell({ json }: { json?: true }, done: object, sentence: string): void {
  if (json) printJson(done)
  else print(`${sentence}\n`)
}

export function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`)
}
