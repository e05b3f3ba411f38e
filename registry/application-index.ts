/**
 * Which application has an appId or an address, so that neither is looked for among 100,000 applications with every
 * change. It follows the store within the same turn: who asks it while deciding on a change asks about that state.
 */

import { isPublished, type RegisteredApplication } from '#infra/contracts/application.ts'
import { addressOf } from './external-url.ts'
import type { Store } from './store.ts'

export class ApplicationIndex {
  readonly #byAppId = new Map<string, string>()
  readonly #byAddress = new Map<string, string>()

  constructor(store: Store<RegisteredApplication>) {
    for (const application of store.entries.values()) this.#add(application)
    store.onChange(changes => {
      // Those that end go first: an address may pass from one application to another.
      for (const { before } of changes) if (before) this.#remove(before)
      for (const { after } of changes) if (after) this.#add(after)
    })
  }

  /** Id of the application with this appId, in any case: policies compare GUIDs so. */
  withAppId(appId: string): string | undefined {
    return this.#byAppId.get(appId.toLowerCase())
  }

  /** Id of the application that is published at this address. */
  at(address: string): string | undefined {
    return this.#byAddress.get(address)
  }

  #add(application: RegisteredApplication): void {
    this.#byAppId.set(application.appId.toLowerCase(), application.id)
    if (isPublished(application)) this.#byAddress.set(addressOf(application), application.id)
  }

  #remove(application: RegisteredApplication): void {
    const { id } = application
    const appId = application.appId.toLowerCase()
    if (this.#byAppId.get(appId) === id) this.#byAppId.delete(appId)
    if (!isPublished(application)) return
    const address = addressOf(application)
    if (this.#byAddress.get(address) === id) this.#byAddress.delete(address)
  }
}
