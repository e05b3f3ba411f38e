import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// The clean-up container of testcontainers has to be pulled; test/harness/images.ts cleans up in its place. It must be
// known here, in the main process, and not only to the tests.
process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true'

// Hundreds of processes are started; compiling the same modules anew is half of what each costs.
process.env.NODE_COMPILE_CACHE ??= join(tmpdir(), 'sallyport-compile-cache')

const reporters = ['default', './test/harness/summary-reporter.ts']

/** One kind of test: its folders, its time-outs, and when it runs relative to the others. */
const kind = (name: string, include: string[], order: number, options: object = {}) => ({
  extends: true as const,
  test: {
    name,
    include: include.map(place => `test/${place}`),
    sequence: { groupOrder: order },
    ...options,
  },
})

/** Whole systems whose memory, rates or recovery are measured: nothing else runs beside them. */
const alone = [
  'bus-restarts',
  'connector-dies-mid-request',
  'live-streams',
  'rogue-connector',
  'standby-group',
  'streams',
  'tail-audit',
].map(name => `test/system/${name}.test.ts`)

export default defineConfig({
  test: {
    reporters,
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // On a busy machine a second, the default, is soon over; what is awaited decides, not how long it took.
    expect: { poll: { timeout: 10_000 } },
    projects: [
      kind('parts', ['*.test.ts', '{infra,gateway,connector,policy,registry}/**/*.test.ts'], 0, {
        // Most of them wait for something most of the time.
        maxWorkers: 4,
      }),
      // Most of them wait for something much of the time.
      kind('system', ['system/**/*.test.ts'], 1, {
        testTimeout: 60_000,
        exclude: alone,
        maxWorkers: 3,
      }),
      kind('alone', [], 2, { testTimeout: 60_000, fileParallelism: false, include: alone }),
      kind('kerberos', ['kerberos/**/*.test.ts'], 3, {
        testTimeout: 60_000,
        fileParallelism: false,
        globalSetup: ['./test/harness/domain.ts'],
      }),
      kind('browser', ['browser/**/*.test.ts'], 4, { testTimeout: 60_000 }),
      kind('containers', ['containers/**/*.test.ts'], 5, {
        testTimeout: 120_000,
        hookTimeout: 180_000,
        fileParallelism: false,
        globalSetup: ['./test/harness/images.ts'],
      }),
    ],
  },
})
