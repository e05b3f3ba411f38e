import { defineConfig } from 'vitest/config'
import './vitest.config.ts'

/** What is too long for every day: gigabytes, real time-outs, long soaks, a cluster. `npm run test:heavy`. */
export default defineConfig({
  test: {
    reporters: ['default', './test/harness/summary-reporter.ts'],
    include: ['test/heavy/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 1_200_000,
    hookTimeout: 180_000,
    globalSetup: ['./test/harness/images.ts'],
  },
})
