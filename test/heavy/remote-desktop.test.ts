/**
 * Somebody uses a desktop: FreeRDP, through a published Remote Desktop Gateway, at an xrdp, in both of its transports.
 * Client and desktop are real; the Remote Desktop Gateway is ours, for there is none that runs here.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { administer } from '../harness/admin.ts'
import { createCertificate, type TestCertificate } from '../harness/certificate.ts'
import { followAudit, type LiveEvent, liveAccess } from '../harness/live-audit.ts'
import { ntlmAccount } from '../harness/ntlm.ts'
import { missingOf, without } from '../harness/programs.ts'
import {
  desktopColours,
  type RemoteDesktop,
  type RemoteDesktopClientOptions,
  remoteDesktopPrograms,
  type Screen,
  startRemoteDesktop,
  startRemoteDesktopClient,
  startScreen,
} from '../harness/remote-desktop.ts'
import {
  type RemoteDesktopGateway,
  startRemoteDesktopGateway,
} from '../harness/remote-desktop-gateway.ts'
import { startSystem, type TestSystem } from '../harness/system.ts'
import { UserAgent } from '../harness/user-agent.ts'

const missing = missingOf(...remoteDesktopPrograms)

const patient = { timeout: 15_000 }

let stack: AsyncDisposableStack
let certificate: TestCertificate
let desktop: RemoteDesktop
let desktops: RemoteDesktopGateway
let screen: Screen
let system: TestSystem
let events: readonly LiveEvent[]

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  if (missing.length > 0) return
  certificate = stack.use(await createCertificate())
  desktop = stack.use(await startRemoteDesktop(certificate))
  desktops = stack.use(await startRemoteDesktopGateway(desktop.port))
  screen = stack.use(await startScreen())
  const { certificatePath } = certificate
  const environment = { ...certificate.environment, NODE_EXTRA_CA_CERTS: certificatePath }
  system = stack.use(await startSystem({ connectors: 2, environment }))
  events = await followAudit(system)
})
afterAll(() => stack.disposeAsync())

interface Published extends AsyncDisposable {
  remove(): Promise<void>
}

/** Everybody may ask for it; who gets in, the Remote Desktop Gateway says. In force when this returns. */
async function publish(id: string): Promise<Published> {
  // Names below localhost are known to browsers alone.
  const externalUrl = `https://localhost:${system.port}/`
  const onPremisesPublishing = {
    externalUrl,
    internalUrl: desktops.url,
    externalAuthenticationType: 'passthru',
    allowedHttpMethods: ['GET', 'HEAD', 'POST', 'OPTIONS', 'RDG_IN_DATA', 'RDG_OUT_DATA'],
  }
  const application = { id, displayName: id, connectorGroupId: 'default', onPremisesPublishing }
  await administer(system, 'POST', '/applications', application)
  let isThere = true
  const remove = async () => {
    if (isThere) await administer(system, 'DELETE', `/applications/${id}`)
    isThere = false
  }
  using visitor = new UserAgent({ ca: certificate.cert })
  const challenge = async () => (await visitor.request(externalUrl)).header('www-authenticate')
  await expect.poll(challenge, patient).toBe('NTLM')
  return { remove, [Symbol.asyncDispose]: remove }
}

const connect = (transport: RemoteDesktopClientOptions['transport'], account = ntlmAccount) =>
  startRemoteDesktopClient({
    screen,
    certificate,
    gateway: `localhost:${system.port}`,
    transport,
    account,
  })

/** What a head asks for. */
function wishOf(head: string): string {
  const [method] = head.split(' ')
  if (/^upgrade: websocket$/im.test(head)) return `${method} websocket`
  return /^transfer-encoding: chunked$/im.test(head) ? `${method} chunked` : `${method}`
}

const connected = async () => (await desktop.log()).split('Connected client computer name').length

const [out, into] = ['RDG_OUT_DATA', 'RDG_IN_DATA']

describe.skipIf(missing.length > 0)(`FreeRDP at a desktop${without(missing)}`, () => {
  test.each([
    {
      id: 'web-socket',
      name: 'one WebSocket',
      transport: 'http',
      wishes: [`${out} websocket`, `${out} websocket`],
      recorded: [out],
    },
    {
      id: 'two-channels',
      name: 'two connections',
      transport: 'http,no-websockets',
      wishes: [out, out, into, into, `${into} chunked`],
      recorded: [into, out],
    },
  ] as const)(
    'signs in to its connections and shows the desktop over $name, until the application is deleted',
    async ({ id, transport, wishes, recorded }) => {
      await using published = await publish(id)
      const [before, heads] = [await connected(), desktops.heads.length]
      await using client = connect(transport)
      const shown = async () => {
        if (client.lastWords !== undefined) throw new Error(client.lastWords)
        const colours = await screen.colours()
        const { background, dialog } = desktopColours
        return [background, dialog].every(colour => (colours.get(colour) ?? 0) > 50_000)
      }
      await expect.poll(shown, patient).toBe(true)
      expect(await connected()).toBe(before + 1)
      expect(desktops.clients).toBe(1)
      expect(desktops.heads.slice(heads).map(wishOf)).toEqual(wishes)

      await published.remove()
      await expect.poll(() => client.lastWords, patient).toContain('Network disconnect!')
      expect((await screen.colours()).size).toBe(1)
      await expect.poll(() => desktops.clients, patient).toBe(0)
      const carried = () =>
        liveAccess(events)
          .filter(event => event.application === id && event.method.startsWith('RDG_'))
          .map(({ method, fault }) => `${method} ${fault}`)
          .sort()
      await expect
        .poll(carried, patient)
        .toEqual(recorded.map(method => `${method} session_revoked`))
    },
  )

  test('does not get there with a wrong password', async () => {
    await using _published = await publish('wrong-password')
    const [before, heads] = [await connected(), desktops.heads.length]
    await using client = connect('http', { ...ntlmAccount, password: 'wrong' })
    await expect.poll(() => client.lastWords, patient).toContain('ERRCONNECT_ACCESS_DENIED')
    expect(desktops.heads.slice(heads).map(wishOf)).toContain(`${out} websocket`)
    expect(await connected()).toBe(before)
  })
})
