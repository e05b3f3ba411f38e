/**
 * Every gateway and every connector is replaced, one after the other, while clients go on: nobody notices. They keep
 * their connections and come through a load balancer that sends nothing twice, so what one of the services lost or
 * repeated would stay lost or repeated.
 */

import { expect, test } from 'vitest'
import { decodeToken, encodeToken } from '#infra/connector-token.ts'
import type { ServiceRole } from '#infra/embedded/service-process.ts'
import { administer } from '../harness/admin.ts'
import { startCountingOrigin } from '../harness/counting-origin.ts'
import { failures, startDriving } from '../harness/load.ts'
import { signedInApplication, startSystem, type TestSystem } from '../harness/system.ts'
import { signInTo } from '../harness/visitor.ts'

const requests = 20_000

/** Every fifth request is an upload that goes up in pieces. */
const upload = 'a change '.repeat(20_000)

const mixed = (number: number) => ({
  method: number % 2 === 0 ? 'POST' : 'GET',
  path: '/',
  ...(number % 2 === 0 && { body: number % 10 === 0 ? upload : 'a change' }),
})

/** A new connector enrols at a gateway that is there: the first one, which tokens name, has left by then. */
async function tokenFor(system: TestSystem) {
  const profile = '/onPremisesPublishingProfiles/applicationProxy'
  const made = await administer(system, 'POST', `${profile}/connectorEnrolmentTokens`, {})
  const { token } = made as { token: string }
  const { port } = new URL(system.gatewayUrls[0] as string)
  const url = `http://portal.sallyport.localhost:${port}/`
  return { SALLYPORT_CONNECTOR_TOKEN: encodeToken({ ...decodeToken(token), url }) }
}

test('a rolling restart of all gateways and connectors loses none of 20,000 requests and sends none twice', async () => {
  await using origin = await startCountingOrigin()
  await using system = await startSystem({
    gateways: 2,
    connectors: 2,
    publish: [signedInApplication('wiki', origin.url)],
  })
  const { headers } = await signInTo(system, 'wiki')
  const arrivedBefore = origin.arrived
  // One that is starting is not in it yet, one that is stopping still is.
  let rotation = [...system.gatewayUrls]
  await using load = startDriving({
    gateways: () => rotation,
    headers,
    request: mixed,
    isBalancer: true,
  })
  const replaceAll = async (role: ServiceRole) => {
    for (const leaving of [...system.services.of(role)]) {
      await load.untilAnswered(500)
      await system.stop(leaving)
      expect(leaving.exitCode).toBe(0)
      await load.untilAnswered(500)
      await system.add(role, role === 'connector' ? await tokenFor(system) : {})
      rotation = [...system.gatewayUrls]
    }
  }
  do {
    await replaceAll('gateway')
    await replaceAll('connector')
  } while (load.replies.length < requests)
  const replies = await load.stop()
  expect(failures(replies)).toEqual([])
  expect(replies.length).toBeGreaterThanOrEqual(requests)
  expect(origin.arrived - arrivedBefore).toBe(replies.length)
  expect(origin.repeated()).toEqual([])
})
