/**
 * Requests of which something has still to come: whoever closes the server waits for what is being done, not for a client
 * that may never send the rest. Nothing has been done for such a request, unless it was refused unread.
 */

import type { IncomingMessage } from 'node:http'
import type { AdminServer } from './context.ts'

/** Returns what breaks them off. */
export function followUnfinished(app: AdminServer): () => void {
  const coming = new Set<IncomingMessage>()
  app.addHook('onRequest', async ({ raw }) => {
    coming.add(raw)
    raw.once('close', () => coming.delete(raw))
  })
  return () => {
    for (const raw of coming) if (!raw.complete) raw.destroy()
  }
}
