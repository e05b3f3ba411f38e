/**
 * `sallyport connector --enroll-with-token-from …`: enrols this host before the connector starts. The token comes from a
 * file, standard input or the environment, never from the command line, which every user of the machine can read. A
 * host that is enrolled already stays what it is, so the option may stand in a service's unit for good.
 */

import cluster from 'node:cluster'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { pinOf } from '#infra/certificates.ts'
import { ConfigurationError, type Environment } from '#infra/config.ts'
import { decodeToken } from '#infra/connector-token.ts'
import { connectorIdPattern } from '#infra/contracts/connector.ts'
import { tokenPrefix } from '#infra/contracts/enrolment.ts'
import { asSallyportError, type FaultCode, SallyportError } from '#infra/errors.ts'
import { exitConfiguration } from '#infra/lifecycle.ts'
import { createLogger, type Logger, type LogLevel, logLevels } from '#infra/log.ts'
import { enrol } from './enrol.ts'
import { checkUnenrolled } from './environment.ts'
import { type Identity, IdentityFolder, identityPathOf, isForbidden } from './folder.ts'
import { RegistryTime } from './registry-time.ts'
import { standingOf } from './standing.ts'

const tokenVariable = 'SALLYPORT_CONNECTOR_TOKEN'

const failed = 1
const wrongUsage = 2

export interface EnrolArguments {
  /** A file, `-` or `env`. */
  source?: string | undefined
  /** Exists to be refused. */
  token?: string | undefined
}

/** Enrols, or prints why not and ends the process with a status that is not zero. */
export async function enrolBeforeStart(
  { source = '', token }: EnrolArguments,
  environment: Environment,
): Promise<void> {
  // Workers have the arguments of their parent, which has done it.
  if (cluster.isWorker) return
  try {
    if (token !== undefined || source.includes(tokenPrefix)) throw new SecretInArguments()
    await enrolHost(source, environment)
  } catch (error) {
    process.stderr.write(`sallyport connector: ${inWords(error)}\n`)
    process.exit(exitStatus(error))
  }
}

class SecretInArguments extends Error {
  override message =
    'a token on the command line can be read by every user of this machine, so this one is not used. Make another one and ' +
    `put it in a file, or give --enroll-with-token-from "-" for standard input or "env" for ${tokenVariable}.`
}

/** @throws SallyportError or ConfigurationError that says why this host has no identity. */
async function enrolHost(source: string, environment: Environment): Promise<void> {
  const log = createLogger('connector', levelOf(environment))
  const folder = new IdentityFolder(identityPathOf(environment))
  const { HTTPS_PROXY, NO_PROXY } = environment
  const proxy = { HTTPS_PROXY, NO_PROXY }
  const known = await folder.read()
  try {
    if (!known) checkBeforeEnrolment(environment)
    const token = await readToken(source, environment)
    if (known && (await isKept(known, { token, proxy, log }))) {
      log.info({ connector: known.connectorId }, 'enrolled already: the token was not used')
      return
    }
    if (!known) refuseOtherGroup(decodeToken(token).group, environment)
    const connectorId = wishedId(environment)
    const identity = await enrol({ token, folder, connectorId, proxy, log })
    const { connectorId: id, connectorGroupId: group } = identity
    log.info({ connector: id, group, identity: folder.path }, 'enrolled')
  } catch (error) {
    // The token of a unit that was enrolled long ago may be gone.
    if (!known || !isUnusable(error)) throw error
    log.info({ connector: known.connectorId, reason: inWords(error) }, 'enrolled already')
  }
}

/** What is no level is refused with all that is wrong, before the token is used. */
function levelOf({ SALLYPORT_LOG_LEVEL: wished }: Environment): LogLevel {
  return logLevels.find(level => level === wished) ?? 'info'
}

function isUnusable(error: unknown): boolean {
  if (error instanceof ConfigurationError) return true
  return error instanceof SallyportError && error.code === 'token_invalid'
}

/** White space around the token is nothing: editors end files with a line break. */
async function readToken(source: string, environment: Environment): Promise<string> {
  const token = (await contentOf(source, environment)).trim()
  if (token !== '') return token
  throw new ConfigurationError(`--enroll-with-token-from: ${nameOf(source)} is empty`)
}

async function contentOf(source: string, environment: Environment): Promise<string> {
  if (source === 'env') return environment[tokenVariable] ?? ''
  try {
    return source === '-' ? await text(process.stdin) : await readFile(source, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new ConfigurationError(
      `--enroll-with-token-from: ${nameOf(source)} cannot be read (${code})`,
    )
  }
}

function nameOf(source: string): string {
  if (source === '-') return 'standard input'
  return source === 'env' ? tokenVariable : source
}

function wishedId({ SALLYPORT_CONNECTOR_ID: id }: Environment): string | undefined {
  if (!id || connectorIdPattern.test(id)) return id || undefined
  throw new ConfigurationError(
    'SALLYPORT_CONNECTOR_ID: must be 1 to 63 lower-case letters, digits or hyphens',
  )
}

interface Keeping {
  token: string
  proxy: { HTTPS_PROXY: string | undefined; NO_PROXY: string | undefined }
  log: Logger
}

/** An identity of another installation, or one that will never be taken again, makes room for the token's. */
async function isKept(known: Identity, { token, proxy, log }: Keeping): Promise<boolean> {
  if (decodeToken(token).pin !== pinOf(known.root)) return false
  try {
    await standingOf(known, { time: new RegistryTime(log), proxy })
    return true
  } catch (error) {
    const { code } = asSallyportError(error)
    return !gone.has(code)
  }
}

const gone: ReadonlySet<FaultCode> = new Set<FaultCode>([
  'connector_removed',
  'certificate_revoked',
])

function inWords(error: unknown): string {
  if (error instanceof SallyportError) {
    const { title, advice } = error.fault
    return `not enrolled. ${title} ${advice} (${error.code}: ${error.message})`
  }
  if (isForbidden(error)) {
    const fix =
      'let its user write there, or name another folder in SALLYPORT_CONNECTOR_IDENTITY_PATH'
    return `not enrolled: the identity of the connector cannot be kept (${error.message}); ${fix}`
  }
  return (error as Error).message
}

/** A token is good for one enrolment: a connector that could not start afterwards must not use it up. */
function checkBeforeEnrolment(environment: Environment): void {
  refuseBusOfOthers(environment)
  try {
    checkUnenrolled(environment)
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error
    throw new ConfigurationError(`${error.message}\nThe token was not used.`, { cause: error })
  }
}

/** The token decides: whoever named another group would wait for a connector that serves elsewhere. */
function refuseOtherGroup(group: string, { SALLYPORT_CONNECTOR_GROUP: named }: Environment): void {
  if (!named || named === group) return
  throw new ConfigurationError(
    `SALLYPORT_CONNECTOR_GROUP: is ${named}, and the token is for the group ${group}; leave the variable out, or make a token with "sallyport connector-token --group ${named}". The token was not used.`,
  )
}

/** A connector that enrols would not use what it gets then. */
function refuseBusOfOthers(environment: Environment): void {
  const { SALLYPORT_BUS_URL: url, SALLYPORT_BUS_URL_FILE: file } = environment
  if (!file && (!url || url.startsWith('wss:'))) return
  throw new ConfigurationError(
    `${file ? 'SALLYPORT_BUS_URL_FILE' : 'SALLYPORT_BUS_URL'} is set to a bus without enrolment, as administrators use it; so the token was not used. Unset it: a connector that is enrolled knows where the bus is.`,
  )
}

function exitStatus(error: unknown): number {
  if (error instanceof SecretInArguments) return wrongUsage
  if (error instanceof ConfigurationError || isForbidden(error)) return exitConfiguration
  // Nobody answered: whoever starts services may try again.
  if (error instanceof SallyportError && !error.fault.retryable) return exitConfiguration
  return failed
}
