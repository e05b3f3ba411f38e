/**
 * WebDAV (RFC 4918) through a published application: litmus, the test suite of WebDAV servers, against Apache's mod_dav.
 * It knows no cookies, so everybody may enter here. Skipped where it is missing (packages litmus, apache2-bin).
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parsePublications } from '#infra/embedded/publications.ts'
import { type Apache, apacheFiles, startApache } from '../harness/apache.ts'
import { missingOf, runProgram, without } from '../harness/programs.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'

const missing = missingOf('litmus', ...apacheFiles)

describe.skipIf(missing.length > 0)(`litmus${without(missing)}`, () => {
  let folder: string
  let apache: Apache
  let system: TestSystem

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sallyport-litmus-'))
    apache = await startApache()
    system = await startSystem({ publish: parsePublications([`dav=${apache.url},passthrough`]) })
  })
  afterAll(async () => {
    await system?.[Symbol.asyncDispose]()
    await apache?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** What it says of each test of a suite. */
  async function results(suite: string, words: readonly string[]): Promise<string[]> {
    const environment = { TESTS: suite }
    // It leaves a log where it runs.
    const { output } = await runProgram('litmus', ['-k', ...words], { folder, environment })
    return output.split(/[\r\n]+/).filter(line => /pass|FAIL|SKIPPED|WARNING/i.test(line))
  }

  test.each(['basic', 'copymove', 'props', 'locks', 'http'])(
    'finds nothing in "%s" that it does not find at the server itself',
    async suite => {
      const direct = await results(suite, [`${apache.url}/dav/`])
      expect(direct.join('\n')).toContain(' 0 failed. 100.0%')
      // No resolver knows the host: it is asked as a proxy would be, in absolute form (RFC 9112 §3.2.2).
      const gateway = [`--proxy=http://127.0.0.1:${system.port}`]
      const external = `http://dav.sallyport.localhost:${system.port}/dav/`
      expect(await results(suite, [...gateway, external])).toEqual(direct)
    },
  )
})
