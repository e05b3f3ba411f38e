/** The way to a gateway with TLS, as doctor walks it from a machine that may not know the authority. */

import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { walkToGateway } from '../../registry/cli/doctor-walk.ts'
import { createCertificate } from '../harness/certificate.ts'

async function startGateway(): Promise<URL> {
  const certificate = await createCertificate()
  const server = createServer({ cert: certificate.cert, key: certificate.key }, (_req, res) => {
    res.end('{}')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.close()
    await certificate[Symbol.asyncDispose]()
  })
  return new URL(`https://wiki.sallyport.localhost:${(server.address() as AddressInfo).port}/`)
}

test('a certificate of an unknown authority may be good, and the fix says how to tell', async () => {
  const hops = await walkToGateway(await startGateway(), { isOpen: true })
  expect(hops.at(-1)).toMatchObject({
    hop: 'tls',
    outcome: 'failed',
    fix: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
  })
})
