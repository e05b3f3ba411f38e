/** The client commands as a program of their own, for tests: what `sallyport` adds to its services. */

import { Command } from 'commander'
import { addClientCommands } from '../../registry/cli/commands.ts'

const program = new Command('sallyport')
addClientCommands(program, process.env)
await program.parseAsync()
