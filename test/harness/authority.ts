/** A certificate authority for tests, in a folder of its own and as the files that a container is given. */

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keepAuthority } from '#infra/authority.ts'

export interface TestAuthority extends AsyncDisposable {
  readonly folder: string
  /** Of the root alone. */
  readonly rootPath: string
  /** Everything in it, below this folder of a container. */
  filesIn(place: string): Promise<Record<string, string>>
}

export async function createTestAuthority(): Promise<TestAuthority> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-authority-'))
  await keepAuthority(folder)
  return {
    folder,
    rootPath: join(folder, 'root.pem'),
    filesIn: async place => {
      const names = await readdir(folder)
      const contents = await Promise.all(
        names.map(async name => [`${place}/${name}`, await readFile(join(folder, name), 'utf8')]),
      )
      return Object.fromEntries(contents)
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
