/** One request that must be answered as the origin answers it. */

import { bodyBytes } from '../helpers/answers.ts'
import type { Target } from '../targets/target.ts'
import { openSocket, readAnswer, requestText } from './socket.ts'

const withinMs = 5_000

/** @throws when the answer is not a 200, or is shorter than the origin's. */
export async function askOnce(target: Target, path: string): Promise<void> {
  const socket = await openSocket(target)
  socket.setTimeout(withinMs, () => socket.destroy(new Error(`${target.name} does not answer`)))
  socket.write(requestText(target, 'GET', path))
  const { status, bodyBytes: received } = await readAnswer(socket)
  if (!status.startsWith('HTTP/1.1 200') || received < bodyBytes(path)) {
    throw new Error(`${target.name} ${path} is answered with "${status}", ${received} bytes`)
  }
}
