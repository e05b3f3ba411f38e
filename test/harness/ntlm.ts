/**
 * NTLM as a server sees it (MS-NLMP), for one account: a challenge, and whether the answer to it shows that the client
 * knows the password. That this takes three legs on one connection is what makes it worth having here.
 */

import { createHmac, randomBytes } from 'node:crypto'

export const ntlmAccount = {
  user: 'alice',
  password: 'password',
  /** MD4 of the password in UTF-16, which OpenSSL computes no more. */
  hash: Buffer.from('8846f7eaee8fb117ad06bdd830b7586c', 'hex'),
}

export interface NtlmSignIn {
  /** What goes into `WWW-Authenticate`, or nothing when the client has signed in. */
  answer(authorization: string | undefined): string | undefined
}

const signature = Buffer.from('NTLMSSP\0', 'latin1')
const messages = { negotiate: 1, challenge: 2, authenticate: 3 } as const

/** Unicode, a target of type server with its information, NTLM with extended session security, 128 and 56 bits. */
const flags = 0xe28a8205

export function createNtlmSignIn(): NtlmSignIn {
  const challenge = randomBytes(8)
  return {
    answer(authorization) {
      const [, text] = /^NTLM (\S+)$/.exec(authorization ?? '') ?? []
      if (text === undefined) return 'NTLM'
      const message = Buffer.from(text, 'base64')
      const type = message.readUInt32LE(signature.length)
      if (type === messages.negotiate) return `NTLM ${challengeMessage(challenge)}`
      const isAlice = type === messages.authenticate && isProven(message, challenge)
      return isAlice ? undefined : 'NTLM'
    },
  }
}

function challengeMessage(challenge: Buffer): string {
  const name = Buffer.from('DESKTOPS', 'utf16le')
  // Names of domain (2) and computer (1), in NetBIOS's form and (4, 3) in DNS's, and the end.
  const pairs = [2, 1, 4, 3].map(id => Buffer.concat([u16(id, name.length), name]))
  const information = Buffer.concat([...pairs, u16(0, 0)])
  const fixedBytes = 56
  const field = (bytes: Buffer, offset: number) =>
    Buffer.concat([u16(bytes.length, bytes.length), u32(offset)])
  return Buffer.concat([
    ...[signature, u32(messages.challenge), field(name, fixedBytes), u32(flags), challenge],
    ...[Buffer.alloc(8), field(information, fixedBytes + name.length), Buffer.alloc(8)],
    ...[name, information],
  ]).toString('base64')
}

/** MS-NLMP §3.3.2: the first 16 octets of the answer are made of challenge, password, and what follows them. */
function isProven(message: Buffer, challenge: Buffer): boolean {
  const field = (at: number) => {
    const start = message.readUInt32LE(at + 4)
    return message.subarray(start, start + message.readUInt16LE(at))
  }
  const [answer, domain, user] = [field(20), field(28), field(36).toString('utf16le')]
  if (user !== ntlmAccount.user) return false
  const who = Buffer.concat([Buffer.from(user.toUpperCase(), 'utf16le'), domain])
  const key = createHmac('md5', ntlmAccount.hash).update(who).digest()
  const proof = createHmac('md5', key).update(challenge).update(answer.subarray(16)).digest()
  return proof.equals(answer.subarray(0, 16))
}

const u16 = (...values: number[]) => Buffer.from(Uint16Array.from(values).buffer)
const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
