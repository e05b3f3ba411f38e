/**
 * The administrator's commands of `sallyport`, as additions to its program. They find a running system by
 * SALLYPORT_ADMIN_URL and SALLYPORT_ADMIN_TOKEN (tail: SALLYPORT_BUS_URL) or by options, and end with 0 when all went
 * well, 1 when something was refused or failed, 2 when they were called wrongly.
 */

import type { Command } from 'commander'
import type { Environment } from '#infra/config.ts'
import { addApplicationCommands } from './application-commands.ts'
import { clientCommands } from './command.ts'
import { addConnectorCommands } from './connector-commands.ts'
import { addDoctorCommand } from './doctor.ts'
import { addEnrolmentCommands } from './enrolment-commands.ts'
import { addExplainCommands } from './explain-command.ts'
import { addGroupCommands } from './group-commands.ts'
import { addPolicyCommands } from './policy-commands.ts'
import { addTailCommand } from './tail.ts'

export function addClientCommands(program: Command, environment: Environment): void {
  const add = clientCommands(program, environment)
  addApplicationCommands(add)
  addGroupCommands(add)
  addConnectorCommands(add)
  addEnrolmentCommands(add)
  addExplainCommands(add)
  addDoctorCommand(add)
  addPolicyCommands(program, environment)
  addTailCommand(program, environment)
}
