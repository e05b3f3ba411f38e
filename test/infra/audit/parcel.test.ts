/** What gathers is handed out, and nothing of it is kept. */

import { expect, test } from 'vitest'
import { promotedMiB } from '../../harness/promoted.ts'

test('events that have left do not survive collections of the young generation', async () => {
  const mebibytes = await promotedMiB({
    before: `
      import { Gathering } from ${JSON.stringify(import.meta.resolve('#infra/audit/parcel.ts'))}
      const gathering = new Gathering()`,
    each: `
      const json = JSON.stringify({ number, text: String(number).repeat(500) })
      gathering.add({ id: String(number), subject: 'a', json, recordedAtMs: number })
      if (number % 32 === 31) gathering.take()`,
    times: 20_000,
  })
  // Of 45 MiB.
  expect(mebibytes).toBeLessThan(4)
})
