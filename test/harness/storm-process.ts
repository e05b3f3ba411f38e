/** Many connectors' connections in one process: as many as it is given identity folders; it tells how many are up. */

import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Bus, connectBus } from '#infra/bus.ts'
import { createLogger } from '#infra/log.ts'

const [url = '', ...folders] = process.argv.slice(2)
const log = createLogger('storm', 'silent')

const buses = await Promise.all(
  folders.map(folder => {
    const file = (name: string) => readFile(join(folder, name), 'utf8')
    const identity = async () => ({
      key: await file('key.pem'),
      certificate: await file('certificate.pem'),
      authority: await file('authority.pem'),
    })
    return connectBus({ url, role: 'connector', instance: basename(folder), identity, log })
  }),
)

/** When the last one that was away came back; Unix time in ms. */
let lastMs = Date.now()
for (const bus of buses) {
  bus.onStatus(() => {
    lastMs = Date.now()
  })
}

const isUp = (bus: Bus) => bus.isConnected
process.on('message', () => process.send?.({ up: buses.filter(isUp).length, lastMs }))
process.once('disconnect', () => process.exit(0))
process.send?.({ up: buses.length, lastMs })
