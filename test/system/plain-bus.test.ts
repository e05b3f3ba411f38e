/** `--plain-bus`: a bus that any NATS client of this machine can look at, with the user and password in its URL. */

import { connect } from '@nats-io/transport-node'
import { expect, test } from 'vitest'
import { Client } from '../harness/client.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

test('applications are served, and an auditor sees the events without anything of ours', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    isBusPlain: true,
    publish: [signedInApplication('wiki', origin.url)],
  })
  const url = new URL(system.parts.nats.urlFor('auditor'))
  expect(url).toMatchObject({ protocol: 'nats:', hostname: '127.0.0.1', username: 'auditor' })
  const nats = await connect({ servers: url.host, user: url.username, pass: url.password })
  const seen: string[] = []
  nats.subscribe('sallyport.audit.access.>', {
    callback: (_, { subject }) => void seen.push(subject),
  })
  await nats.flush()
  using client = new Client(system.gatewayUrls[0] ?? '', await signInTo(system, 'wiki'))
  expect((await client.send('/')).status).toBe(200)
  await expect.poll(() => seen).toContain('sallyport.audit.access.wiki.granted')
  await nats.close()
})
