/**
 * Clients that nobody here wrote, through a published application in front of servers that nobody here wrote: curl and
 * git as somebody who is signed in, whose cookie they carry. Each is skipped where it is missing (packages curl, git,
 * apache2-bin); webdav.test.ts has another one.
 */

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Apache, apacheFiles, startApache } from '../harness/apache.ts'
import { bodyOf, digestOf, digestOfBody } from '../harness/bodies.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { type GitOrigin, startGitOrigin } from '../harness/git-origin.ts'
import { missingOf, runProgram, succeed, without } from '../harness/programs.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'

const missing = {
  curl: missingOf('curl', ...apacheFiles),
  git: missingOf('git'),
}

let stack: AsyncDisposableStack
let folder: string
let certificate: TestCertificate
let apache: Apache | undefined
let gitOrigin: GitOrigin
let system: TestSystem
let cookies: Record<string, string>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  folder = await mkdtemp(join(tmpdir(), 'sallyport-clients-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  certificate = stack.use(await createCertificate())
  if (missing.curl.length === 0) apache = stack.use(await startApache())
  await mkdir(join(folder, 'repositories'))
  gitOrigin = stack.use(await startGitOrigin(join(folder, 'repositories')))
  system = stack.use(
    await startSystem({
      environment: { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificate.certificatePath },
      publish: [
        signedInApplication('files', apache?.url ?? gitOrigin.url),
        signedInApplication('git', gitOrigin.url),
      ],
    }),
  )
  cookies = { files: await cookieFor('files'), git: await cookieFor('git') }
})
afterAll(() => stack.disposeAsync())

const urlOf = (name: string, path = '/') =>
  `https://${name}.sallyport.localhost:${system.port}${path}`

async function cookieFor(name: string): Promise<string> {
  using alice = new UserAgent({ ca: certificate.cert })
  const url = urlOf(name)
  await alice.signIn(url, 'alice@sallyport.example', 'wonderland')
  return alice.cookies.header(new URL(url)) ?? ''
}

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}

describe.skipIf(missing.curl.length > 0).each(['1.1', '2'])(
  `curl over HTTP/%s${without(missing.curl)}`,
  version => {
    const directory = `/dav/curl-${version}`
    const curl = (path: string, ...words: string[]) =>
      succeed('curl', [
        ...['-sS', '--fail-with-body', `--http${version}`, '--cacert', certificate.certificatePath],
        ...['--resolve', `files.sallyport.localhost:${system.port}:127.0.0.1`],
        ...['-b', cookies.files ?? '', ...words, urlOf('files', path)],
      ])
    const bytes = 5_000_001
    let body: string

    beforeAll(async () => {
      body = await file(`body-${version}`, bodyOf(bytes))
      await curl(`${directory}/`, '-X', 'MKCOL')
      await curl(`${directory}/body`, '-T', body)
    })

    test('speaks that version with us', async () => {
      const { output } = await curl(`${directory}/body`, '-I', '-w', 'version %{http_version}')
      expect(output).toContain(`version ${version}`)
      expect(output.toLowerCase()).toContain(`content-length: ${bytes}`)
    })

    test('downloads what it has uploaded, byte by byte', async () => {
      const target = join(folder, `download-${version}`)
      await curl(`${directory}/body`, '-o', target)
      expect(digestOf(await readFile(target))).toEqual(digestOfBody(bytes))
    })

    test('uploads a body whose length nobody knows, from a pipe', async () => {
      const upload = `${urlOf('files', `${directory}/piped`)}`
      await succeed('sh', [
        ...[
          '-c',
          `cat "$1" | curl -sS --fail-with-body --http${version} --cacert "$2" -b "$3" -T - "$4"`,
        ],
        ...['sh', body, certificate.certificatePath, cookies.files ?? '', upload],
      ])
      const { output } = await curl(
        `${directory}/piped`,
        '-o',
        '/dev/null',
        '-w',
        '%{size_download}',
      )
      expect(Number(output)).toBe(bytes)
    })

    test('gets the ranges that it asks for, and resumes a download where it broke off', async () => {
      const whole = bodyOf(bytes)
      const range = join(folder, `range-${version}`)
      await curl(`${directory}/body`, '-r', '1000000-1000999', '-o', range, '-i')
      const received = await readFile(range)
      const head = received.toString('latin1')
      expect(head).toMatch(/content-range: bytes 1000000-1000999\/5000001\r\n/i)
      expect(received.subarray(-1_000).equals(whole.subarray(1_000_000, 1_001_000))).toBe(true)
      const partial = await file(`partial-${version}`, whole.subarray(0, 1_234_567))
      const words = ['-C', '-', '-o', partial, '-w', '%{http_code} %{size_download}']
      const { output } = await curl(`${directory}/body`, ...words)
      expect(output).toBe(`206 ${bytes - 1_234_567}`)
      expect(digestOf(await readFile(partial))).toEqual(digestOfBody(bytes))
    })

    test('waits with a large body until it is told to continue', async () => {
      const words = ['-v', '-T', body, '-H', 'Expect: 100-continue', '--expect100-timeout', '30']
      const { errors } = await curl(`${directory}/expected`, ...words)
      expect(errors).toMatch(/> expect: 100-continue/i)
      expect(errors).toMatch(/< HTTP\/[\d.]+ 100/)
      expect(errors).toMatch(/< HTTP\/[\d.]+ 201/)
    })

    test('uses the methods of WebDAV, whose Destination is an external URL', async () => {
      await curl(
        `${directory}/body`,
        '-X',
        'COPY',
        '-H',
        `Destination: ${urlOf('files', `${directory}/copy`)}`,
      )
      await curl(
        `${directory}/copy`,
        '-X',
        'MOVE',
        '-H',
        `Destination: ${urlOf('files', `${directory}/moved`)}`,
      )
      const { output } = await curl(`${directory}/`, '-X', 'PROPFIND', '-H', 'Depth: 1')
      expect(output).toContain(`${directory}/moved</D:href>`)
      expect(output).not.toContain(`${directory}/copy</D:href>`)
    })

    test('is told that it has to sign in when it has no cookie, and nothing is written', async () => {
      const refused = await runProgram('curl', [
        ...['-sS', `--http${version}`, '--cacert', certificate.certificatePath, '-T', body],
        ...['-w', '\n%{http_code}', urlOf('files', `${directory}/refused`)],
      ])
      expect(refused.output).toMatch(/"code":\s*"unauthenticated"[\s\S]*\n401$/)
      const there = curl(`${directory}/refused`, '-I')
      await expect(there).rejects.toThrow('404')
    })
  },
)

describe.skipIf(missing.git.length > 0)(`git${without(missing.git)}`, () => {
  const mib = 2 ** 20
  const git = (place: string, words: readonly string[], cookie = cookies.git) =>
    runProgram('git', [...settings(cookie), ...words], { folder: place, environment })
  const environment = {
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: 'A',
    GIT_AUTHOR_EMAIL: 'a@example.com',
    GIT_COMMITTER_NAME: 'A',
    GIT_COMMITTER_EMAIL: 'a@example.com',
  }
  const settings = (cookie = '') => [
    ...['-c', `http.sslCAInfo=${certificate.certificatePath}`, '-c', 'protocol.version=2'],
    ...['-c', `http.curloptResolve=git.sallyport.localhost:${system.port}:127.0.0.1`],
    ...[
      '-c',
      'init.defaultBranch=main',
      ...(cookie ? ['-c', `http.extraHeader=Cookie: ${cookie}`] : []),
    ],
  ]

  async function must(place: string, ...words: string[]): Promise<string> {
    const { code, output, errors } = await git(place, words)
    if (code !== 0) throw new Error(`git ${words.join(' ')}: ${code}\n${errors}${output}`)
    return output.trim()
  }

  beforeAll(async () => {
    await must(join(folder, 'repositories'), 'init', '-q', '--bare', 'code.git')
  })

  test('pushes a repository with a large pack, and a clone of it is the same', async () => {
    const work = join(folder, 'work')
    await must(folder, 'init', '-q', work)
    await Promise.all([1, 2, 3].map(n => writeFile(join(work, `${n}.bin`), bodyOf(n * mib + n))))
    await writeFile(join(work, 'README'), 'first\n')
    await must(work, 'add', '.')
    await must(work, 'commit', '-q', '-m', 'first')
    await must(work, 'push', '-q', urlOf('git', '/code.git'), 'main')
    // A pack larger than git's buffer goes out as it is made.
    expect(gitOrigin.seen).toContain('POST /code.git/git-receive-pack chunked')
    const clone = join(folder, 'clone')
    await must(folder, 'clone', '-q', urlOf('git', '/code.git'), clone)
    const trees = [work, clone].map(place => must(place, 'rev-parse', 'HEAD^{tree}', 'HEAD'))
    const [pushed, cloned] = await Promise.all(trees)
    expect(cloned).toBe(pushed)
    await must(clone, 'fsck', '--full')
    expect(digestOf(await readFile(join(clone, '3.bin')))).toEqual(digestOfBody(3 * mib + 3))
  })

  test('fetches what somebody else has pushed, and a shallow clone alone', async () => {
    const clone = join(folder, 'clone')
    await writeFile(join(clone, 'README'), 'second\n')
    await must(clone, 'commit', '-q', '-a', '-m', 'second')
    await must(clone, 'push', '-q')
    const work = join(folder, 'work')
    await must(work, 'pull', '-q', urlOf('git', '/code.git'), 'main')
    expect(await readFile(join(work, 'README'), 'utf8')).toBe('second\n')
    const shallow = join(folder, 'shallow')
    await must(folder, 'clone', '-q', '--depth', '1', urlOf('git', '/code.git'), shallow)
    expect(await must(shallow, 'rev-list', '--count', 'HEAD')).toBe('1')
  })

  test('gets in with the cookie of a session and not without', async () => {
    const before = gitOrigin.seen.length
    const words = ['clone', '-q', urlOf('git', '/code.git'), join(folder, 'stranger')]
    const { code, errors } = await git(folder, words, '')
    expect(code).not.toBe(0)
    expect(errors).toMatch(/Authentication failed|could not read Username|401/)
    expect(gitOrigin.seen).toHaveLength(before)
  })
})
