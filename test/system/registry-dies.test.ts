/** The registry is killed: everybody goes on with what they know, and changes are possible again when it is back. */

import { expect, test } from 'vitest'
import { createGroup, moveToGroup } from '../harness/admin.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { drive, failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

test('requests, sign-ins and draining go on without a registry, and changes apply after its return', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    connectors: 3,
    publish: [signedInApplication('wiki', origin.url)],
  })
  const { headers } = await signInTo(system, 'wiki')
  const gateways = () => system.gatewayUrls
  await using load = startDriving({ gateways, headers })
  await load.untilAnswered(200)
  const [registry] = system.services.of('registry')
  if (registry) await system.kill(registry)
  await load.untilAnswered(300)
  const bob = await signInTo(system, 'wiki', 'bob@sallyport.example')
  expect(failures(await drive({ gateways, headers: bob.headers, count: 50 }))).toEqual([])
  const [leaving, dying] = system.services.of('connector')
  if (leaving) await system.stop(leaving)
  if (dying) await system.kill(dying)
  await load.untilAnswered(300)

  const back = await system.add('registry')
  const admin = { ...system.admin, url: String(back.details.admin) }
  await createGroup({ admin }, 'empty')
  await moveToGroup({ admin }, 'wiki', 'empty')
  const movedMs = Date.now()
  await expect.poll(() => load.replies.at(-1)?.code, { interval: 10 }).toBe('no_connector')
  expect(Date.now() - movedMs).toBeLessThan(1_000)
  await moveToGroup({ admin }, 'wiki', 'default')
  await expect.poll(() => load.replies.at(-1)?.status).toBe(200)
  const replies = await load.stop()
  expect(new Set(replies.map(({ code }) => code))).toEqual(new Set([undefined, 'no_connector']))
})
