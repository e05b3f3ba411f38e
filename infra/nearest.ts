/** What somebody meant who misspelt a name: the known one with the fewest letters wrong, missing, too much or swapped. */

/** Undefined when nothing comes near enough. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  const most = Math.max(1, Math.floor(Math.min(word.length, 12) / 3))
  let found: { name: string; distance: number } | undefined
  for (const name of known) {
    if (Math.abs(name.length - word.length) > most) continue
    const distance = editDistance(word, name)
    if (distance <= most && distance < (found?.distance ?? Number.POSITIVE_INFINITY))
      found = { name, distance }
  }
  return found?.name
}

/** Optimal string alignment: Levenshtein's distance, with a swap of two neighbours as one step. */
function editDistance(one: string, other: string): number {
  let before: number[] = []
  let last = Array.from({ length: other.length + 1 }, (_, column) => column)
  for (let row = 1; row <= one.length; row++) {
    const next = [row]
    for (let column = 1; column <= other.length; column++) {
      const isSame = one[row - 1] === other[column - 1]
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1]
      next[column] = Math.min(
        at(last, column) + 1,
        at(next, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        isSwapped ? at(before, column - 2) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    before = last
    last = next
  }
  return at(last, other.length)
}

const at = (row: readonly number[], column: number) => row[column] ?? Number.POSITIVE_INFINITY
