/**
 * The file of variables for one more connector that somebody starts by hand beside `sallyport up`. Its token can be used
 * once, so the file is written anew, with another token and another folder for the identity, as soon as a connector has
 * enrolled with it, and before the token ends.
 */

import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { longestTokenMs } from '../contracts/enrolment.ts'
import type { Logger } from '../log.ts'

export interface NextConnectorOptions {
  /** Holds a folder for each connector's identity. */
  identities: string
  /** Writes the file for a connector whose identity is to be in this folder. */
  write: (name: string) => Promise<void>
  log: Logger
}

const lookEveryMs = 300
const renewAfterMs = longestTokenMs * 0.75

/** Resolves when the file has been written for the first time. */
export async function keepNextConnector(options: NextConnectorOptions): Promise<Disposable> {
  let number = 1
  let writtenAt = Number.NEGATIVE_INFINITY
  const write = async () => {
    // Until it has been written, what is there is no good.
    writtenAt = Number.NEGATIVE_INFINITY
    while (await isUsed(options, number)) number++
    await options.write(nameOf(number))
    writtenAt = performance.now()
  }
  await write()
  let isLooking = false
  const look = async () => {
    if (isLooking) return
    isLooking = true
    try {
      const isOld = performance.now() - writtenAt > renewAfterMs
      if (isOld || (await isUsed(options, number))) await write()
    } catch (error) {
      options.log.warn({ error }, 'no token for another connector could be made, trying again')
    } finally {
      isLooking = false
    }
  }
  const timer = setInterval(() => void look(), lookEveryMs).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

function nameOf(number: number): string {
  return `by-hand-${number}`
}

function isUsed({ identities }: NextConnectorOptions, number: number): Promise<boolean> {
  return access(join(identities, nameOf(number), 'certificate.pem')).then(
    () => true,
    () => false,
  )
}
