/**
 * Two private applications to try Sallyport with, as other people's software stands in other people's networks:
 * no sign-in of their own, on loopback only, nothing of Sallyport in them. Their state is gone at the end.
 */

import { startHandbook } from './sample-handbook.ts'
import { startInventory } from './sample-inventory.ts'

export interface SampleApplications extends AsyncDisposable {
  /** Internal URL of a company handbook: pages, forms, cookies, files, a live view. */
  readonly handbook: string
  /** Internal URL of a stock list: a JSON API. */
  readonly inventory: string
}

/** Ports that are left out are free ones. */
export async function startSampleApplications(
  options: { handbookPort?: number; inventoryPort?: number } = {},
): Promise<SampleApplications> {
  await using stack = new AsyncDisposableStack()
  const handbook = stack.use(await startHandbook(options.handbookPort ?? 0))
  const inventory = stack.use(await startInventory(options.inventoryPort ?? 0))
  const running = stack.move()
  return {
    handbook: handbook.url,
    inventory: inventory.url,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
