/** Free ports are chosen before whoever is to have them listens, and are listened on again after a crash. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { freePort, portProblem } from '#infra/embedded/ports.ts'
import { givenAway } from '../harness/given-away.ts'

const some = (count: number) => Promise.all(Array.from({ length: count }, freePort))

test.skipIf(process.platform !== 'linux')(
  'a free port is none that the system gives to whoever connects, or listens at any port',
  async () => {
    expect(await givenAway(await some(20))).toEqual([])
  },
)

test('it is given once, also to those who ask at the same time', async () => {
  const ports: number[] = []
  for (let round = 0; round < 50; round++) ports.push(...(await some(8)))
  expect(new Set(ports).size).toBe(400)
})

test('one that is in use is not given', async () => {
  const taken = (await freePort()) + 1
  const server = createServer().listen(taken, '127.0.0.1')
  // Whoever else has it, it is in use.
  await once(server, 'listening').catch(() => undefined)
  expect(await portProblem(taken)).toBe('EADDRINUSE')
  expect(await freePort()).not.toBe(taken)
  server.close()
})
