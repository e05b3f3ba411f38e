/** What the origin answers. A measured answer that is shorter is not the origin's, and its rate means nothing. */

export const json = Buffer.from(JSON.stringify({ items: 'x'.repeat(1_012) }))
export const page = Buffer.from(`<!doctype html><title>page</title>${'<p>text</p>'.repeat(9_306)}`)

const bodies: Record<string, Buffer> = { '/json': json, '/page': page }

/** Bytes of the body at this path; zero where it is not fixed. */
export function bodyBytes(path: string): number {
  return bodies[path]?.length ?? 0
}
