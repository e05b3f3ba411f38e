/**
 * Questions and answers of the auth callout are sealed for the two who exchange them (NATS "xkv1": a NaCl box). The
 * common key of a server is worked out once: it takes longer than all the rest.
 */

import nacl from 'tweetnacl'
import { publicOctets, seedOctets } from '#infra/nkey.ts'

const version = Buffer.from('xkv1')
const nonceBytes = 24
/** Servers come and go with new keys, a handful of them at a time. */
const maxServers = 100

export class Sealing {
  readonly #secret: Uint8Array
  readonly #common = new Map<string, Uint8Array>()

  constructor(curveSeed: string) {
    this.#secret = seedOctets(curveSeed)
  }

  /** Undefined when it was not sealed by this server for us. */
  open(message: Buffer, serverKey: string): Buffer | undefined {
    if (!message.subarray(0, version.length).equals(version)) return undefined
    const nonce = message.subarray(version.length, version.length + nonceBytes)
    const box = message.subarray(version.length + nonceBytes)
    if (nonce.length !== nonceBytes) return undefined
    const opened = nacl.box.open.after(box, nonce, this.#commonWith(serverKey))
    return opened === null ? undefined : Buffer.from(opened)
  }

  seal(message: Buffer, serverKey: string): Buffer {
    const nonce = nacl.randomBytes(nonceBytes)
    const box = nacl.box.after(message, nonce, this.#commonWith(serverKey))
    return Buffer.concat([version, nonce, box])
  }

  #commonWith(serverKey: string): Uint8Array {
    let common = this.#common.get(serverKey)
    if (!common) {
      common = nacl.box.before(publicOctets(serverKey), this.#secret)
      if (this.#common.size >= maxServers) this.#common.clear()
      this.#common.set(serverKey, common)
    }
    return common
  }
}
