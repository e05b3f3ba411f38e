import { defineConfig } from 'vitest/config'

/** What is too long for every day: gigabytes, real time-outs, long soaks. `npm run test:heavy`. */
export default defineConfig({
  test: {
    reporters: ['default', './test/harness/summary-reporter.ts'],
    include: ['test/heavy/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 1_200_000,
    hookTimeout: 60_000,
  },
})
