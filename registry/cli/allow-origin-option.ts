/** The option of `publish` that lets pages of other origins ask an application with the session of their user. */

import type { Command } from 'commander'
import type { ApplicationView } from '../admin-api/views.ts'

/** Takes back what was set. */
const none = 'default'

const any = ['*']

export interface AllowOriginOption {
  allowOrigin?: string[]
}

export function withAllowOrigin(command: Command): Command {
  return command.option(
    '--allow-origin <origin[=path]>',
    'let pages of this origin ask it with the session of their user, everywhere or below a path, as in ' +
      'https://login.example.com=/saml/acs (repeatable)',
    (value: string, before: string[] = []) => [...before, value],
  )
}

/** Properties of onPremisesPublishing; undefined ones are no part of a JSON body. */
export function allowOriginOf({ allowOrigin }: AllowOriginOption) {
  if (allowOrigin === undefined) return {}
  if (allowOrigin.includes(none)) return { corsConfigurations: null }
  return { corsConfigurations: allowOrigin.map(configurationOf) }
}

function configurationOf(text: string): object {
  const at = text.indexOf('=')
  const [origin, resource] = at < 0 ? [text, '/'] : [text.slice(0, at), text.slice(at + 1)]
  return { resource, allowedOrigins: [origin], allowedMethods: any, allowedHeaders: any }
}

type Publishing = NonNullable<ApplicationView['onPremisesPublishing']>

/** For `show`. */
export function allowOriginLines({ corsConfigurations }: Publishing): string[] {
  return corsConfigurations.map(({ resource, allowedOrigins, allowedMethods }) => {
    const where = resource === '/' ? '' : ` below ${resource}`
    const how = allowedMethods.includes('*') ? '' : ` by ${allowedMethods.join(', ')}`
    return `  other origins    ${allowedOrigins.join(', ')}${where}${how}`
  })
}
