/** A process of its own that starts a nats-server, tells its process id, and waits to be killed. */

import { startNatsServer } from '#infra/embedded/nats-server.ts'
import { binary } from './nats.ts'

const [storeDirectory = ''] = process.argv.slice(2)
const server = await startNatsServer({ storeDirectory, binary })
process.stdout.write(`${server.process.pid}\n`)
