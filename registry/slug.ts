/** Ids that are made of names. The command line makes them too, so nothing else comes along with this. */

/** "Wiki (Paris)" becomes `wiki-paris`. */
export function toSlug(name: string): string {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '')
}
