/**
 * Tickets from a real domain controller: whose they are, what each misconfiguration is called, and what happens when
 * the KDC goes away, the helper crashes or the clock jumps.
 */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, inject, test } from 'vitest'
import { createLogger } from '#infra/log.ts'
import {
  type Kerberos,
  type KerberosOptions,
  openKerberos,
} from '../../connector/sign-on/kerberos/kerberos.ts'
import type { KerberosName } from '../../connector/sign-on/kerberos/protocol.ts'
import { SignOnFailure } from '../../connector/sign-on/reasons.ts'
import { keytabOf, setDisabled } from '../harness/active-directory.ts'
import { type Domain, realm, spn } from '../harness/domain.ts'
import { startKdcLine } from '../harness/kdc-line.ts'
import { missingOf, without } from '../harness/programs.ts'

const domain = inject('domain') as Domain
const account = (name: string): KerberosName => ({ name: `${name}@${realm}`, type: 'principal' })
const upn = (name: string): KerberosName => ({ name, type: 'enterprise' })

function open(options: Partial<KerberosOptions> & { account?: string } = {}): Promise<Kerberos> {
  const { account: name = 'svc-connector', ...others } = options
  return openKerberos({
    keytabPath: keytabOf(domain.folder, name),
    realm,
    kdcs: [{ host: '127.0.0.1', port: domain.kdcPort }],
    log: createLogger('test', 'silent'),
    ...others,
  })
}

/** Status, and who the application says it was. */
async function present(kerberos: Kerberos, user: KerberosName) {
  const ticket = await kerberos.ticket({ user, spn, format: 'spnego' })
  const headers = { authorization: `Negotiate ${ticket.token}` }
  const answer = await fetch(`${domain.applicationUrl}/echo`, { headers })
  const reply = answer.headers.get('www-authenticate')?.replace(/^Negotiate /, '') ?? ''
  return {
    status: answer.status,
    user: answer.headers.get('x-remote-user'),
    ticket,
    reply: Buffer.from(reply, 'base64'),
  }
}

/** As soon as the user gets a ticket: on a busy machine the helper may take longer to start than the deadline. */
async function ready(kerberos: Kerberos, name: string): Promise<void> {
  const status = () => present(kerberos, account(name)).then(answer => answer.status, String)
  await expect.poll(status, { timeout: 20_000 }).toBe(200)
}

async function reasonOf(asked: Promise<unknown>): Promise<string> {
  const failure = await asked.then(
    () => undefined,
    error => error,
  )
  if (failure instanceof SignOnFailure) return failure.reason
  throw new Error('it succeeded, or failed otherwise', { cause: failure })
}

const ask = (kerberos: Kerberos, user: KerberosName, target = spn) =>
  kerberos.ticket({ user, spn: target, format: 'spnego' })

describe.skipIf(!domain)('a ticket', () => {
  test('is of the user who was asked for, by account name or by a name of any suffix', async () => {
    await using kerberos = await open()
    expect(await kerberos.check()).toBe(`svc-connector@${realm}`)
    expect(await present(kerberos, account('alice'))).toMatchObject({
      status: 200,
      user: `alice@${realm}`,
    })
    expect(await present(kerberos, upn('bob@sallyport.example'))).toMatchObject({
      status: 200,
      user: `bob\\@sallyport.example@${realm}`,
    })
  })

  test('is made anew for every request: the same one twice would be a replay', async () => {
    await using kerberos = await open()
    const first = await present(kerberos, account('alice'))
    const headers = { authorization: `Negotiate ${first.ticket.token}` }
    expect((await fetch(`${domain.applicationUrl}/echo`, { headers })).status).toBe(401)
    expect((await present(kerberos, account('alice'))).status).toBe(200)
  })

  test('also goes without the envelope of SPNEGO', async () => {
    await using kerberos = await open()
    const user = account('alice')
    const { token } = await kerberos.ticket({ user, spn, format: 'kerberos' })
    const headers = { authorization: `Negotiate ${token}` }
    expect((await fetch(`${domain.applicationUrl}/echo`, { headers })).status).toBe(200)
  })

  test("is proved by the application's own reply, and by no other", async () => {
    await using kerberos = await open()
    const [alice, bob] = [
      await present(kerberos, account('alice')),
      await present(kerberos, account('bob')),
    ]
    expect(await alice.ticket.verify(bob.reply)).toBe(false)
    expect(await bob.ticket.verify(bob.reply)).toBe(true)
    const { ticket } = await present(kerberos, account('alice'))
    expect(await ticket.verify(Buffer.from('nonsense'))).toBe(false)
  })

  test('of many users is asked for under eviction, and none is of another one', async () => {
    await using kerberos = await open({ limits: { maxUsers: 2 } })
    const names = ['alice', 'bob', 'erin', 'alice', 'erin', 'bob', 'bob', 'alice']
    const answers = await Promise.all(
      names.map(name => present(kerberos, account(name)).then(({ user }) => user)),
    )
    expect(answers).toEqual(names.map(name => `${name}@${realm}`))
  })
})

describe.skipIf(!domain)('what is wrong is called', () => {
  test.each([
    ['user_unknown', account('nobody')],
    ['user_unknown', upn('alice@unknown.example')],
    ['user_disabled', account('dave')],
    ['delegation_denied', account('carol')],
  ])('%s for the user %s', async (reason, user) => {
    await using kerberos = await open()
    expect(await reasonOf(ask(kerberos, user))).toBe(reason)
  })

  test.each([
    ['delegation_denied', 'HTTP/other.ad.sallyport.test'],
    ['spn_unknown', 'HTTP/nowhere.ad.sallyport.test'],
  ])('%s for the application %s', async (reason, target) => {
    await using kerberos = await open()
    expect(await reasonOf(ask(kerberos, account('alice'), target))).toBe(reason)
  })

  test.each([
    ['delegation_denied', 'svc-kerberos-only'],
    ['connector_has_no_spn', 'svc-no-spn'],
    ['connector_keytab_unusable', 'svc-absent'],
  ])('%s for the account %s of a connector', async (reason, name) => {
    await using kerberos = await open({ account: name })
    expect(await reasonOf(ask(kerberos, account('alice')))).toBe(reason)
  })

  test('connector_key_rejected for a keytab of an older password', async () => {
    const keytab = await readFile(keytabOf(domain.folder, 'svc-connector'))
    // Every AES-256 key (encryption type 18, 32 octets) in it.
    for (let at = 40; at < keytab.length - 5; at++)
      if (keytab[at] === 0x12 && keytab[at + 2] === 0x20) keytab[at + 5]! ^= 0xff
    const keytabPath = join(domain.folder, 'older.keytab')
    await writeFile(keytabPath, keytab, { mode: 0o600 })
    await using line = await startKdcLine(domain.kdcPort)
    await using kerberos = await open({
      keytabPath,
      kdcs: [{ host: '127.0.0.1', port: line.port }],
    })
    expect(await reasonOf(kerberos.check())).toBe('connector_key_rejected')
    const asked = line.questions
    // A directory would lock the account.
    for (let i = 0; i < 10; i++)
      expect(await reasonOf(ask(kerberos, account('alice')))).toBe('connector_key_rejected')
    expect(line.questions).toBe(asked)
    await writeFile(keytabPath, await readFile(keytabOf(domain.folder, 'svc-connector')))
    expect((await present(kerberos, account('alice'))).status).toBe(200)
  })
})

describe.skipIf(!domain)('a user who is disabled while signed in', () => {
  test('is refused when the kept ticket is too old, and comes back when enabled', async () => {
    await using kerberos = await open({ limits: { maxAgeMs: 0 } })
    expect((await present(kerberos, account('erin'))).status).toBe(200)
    await setDisabled(domain.folder, realm, 'erin', true)
    expect(await reasonOf(ask(kerberos, account('erin')))).toBe('user_disabled')
    await setDisabled(domain.folder, realm, 'erin', false)
    expect((await present(kerberos, account('erin'))).status).toBe(200)
  })
})

describe.skipIf(!domain)('without a KDC', () => {
  test('that is down, users with tickets go on, others are refused at once, until it is back', async () => {
    await using line = await startKdcLine(domain.kdcPort)
    await using kerberos = await open({ kdcs: [{ host: '127.0.0.1', port: line.port }] })
    expect((await present(kerberos, account('alice'))).status).toBe(200)
    await line.cut()
    expect(await reasonOf(ask(kerberos, account('bob')))).toBe('kdc_unreachable')
    const before = performance.now()
    expect(await reasonOf(ask(kerberos, account('bob')))).toBe('kdc_unreachable')
    expect(performance.now() - before).toBeLessThan(500)
    expect((await present(kerberos, account('alice'))).status).toBe(200)
    await line.mend()
    await ready(kerberos, 'bob')
  })

  test('that answers in time, nobody waits longer than the deadline', async () => {
    await using line = await startKdcLine(domain.kdcPort)
    await using kerberos = await open({
      kdcs: [{ host: '127.0.0.1', port: line.port }],
      limits: { deadlineMs: 1_000 },
    })
    await ready(kerberos, 'alice')
    line.hang()
    const waiting = Array.from({ length: 20 }, (_, i) => reasonOf(ask(kerberos, account(`u${i}`))))
    expect((await present(kerberos, account('alice'))).status).toBe(200)
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['kdc_timeout']))
    expect(await reasonOf(ask(kerberos, account('bob')))).toBe('kdc_unreachable')
  })

  test('the next one that answers is taken', async () => {
    await using first = await startKdcLine(domain.kdcPort)
    await using second = await startKdcLine(domain.kdcPort)
    await using kerberos = await open({
      kdcs: [first, second].map(({ port }) => ({ host: '127.0.0.1', port })),
      limits: { deadlineMs: 1_000 },
    })
    await ready(kerberos, 'alice')
    first.hang()
    await ready(kerberos, 'bob')
  })

  test('that is alive at the start, the one that is, is found', async () => {
    await using silent = await startKdcLine(domain.kdcPort)
    silent.hang()
    await using kerberos = await open({
      kdcs: [
        { host: '127.0.0.1', port: silent.port },
        { host: '127.0.0.1', port: domain.kdcPort },
      ],
    })
    expect((await present(kerberos, account('alice'))).status).toBe(200)
  })
})

describe.skipIf(!domain)('the helper', () => {
  test('is started again when it crashes, and says so to whoever waits', async () => {
    await using kerberos = await open()
    await kerberos.check()
    const waiting = reasonOf(ask(kerberos, account('alice')))
    process.kill(kerberos.helperId as number, 'SIGSEGV')
    expect(await waiting).toBe('helper_exited')
    await ready(kerberos, 'alice')
  })
})

const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'
const withoutClock = missingOf(faketime)

describe.skipIf(!domain || withoutClock.length > 0)(
  `a clock of the connector${without(withoutClock)}`,
  () => {
    const withClock = async (shift: string) => {
      const file = join(domain.folder, `clock-${crypto.randomUUID()}`)
      await writeFile(file, shift)
      const kerberos = await open({
        environment: {
          LD_PRELOAD: faketime,
          FAKETIME_TIMESTAMP_FILE: file,
          FAKETIME_NO_CACHE: '1',
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
        },
      })
      return { kerberos, turn: (to: string) => writeFile(file, to) }
    }

    test.each(['+600s', '-600s', '-2d'])('that is off by %s works', async shift => {
      await using kerberos = (await withClock(shift)).kerberos
      expect((await present(kerberos, account('alice'))).status).toBe(200)
    })

    test('that is off by more than a ticket lives is named', async () => {
      await using kerberos = (await withClock('+2d')).kerberos
      expect(await reasonOf(ask(kerberos, account('alice')))).toBe('ticket_expired')
    })

    test('that jumps by ten minutes is noticed: the next ticket is good', async () => {
      const { kerberos: owned, turn } = await withClock('+0s')
      await using kerberos = owned
      expect((await present(kerberos, account('alice'))).status).toBe(200)
      await turn('+600s')
      expect((await present(kerberos, account('alice'))).status).toBe(200)
      await turn('-600s')
      expect((await present(kerberos, account('alice'))).status).toBe(200)
    })
  },
)
