/**
 * The site owner's veto file while the connector runs: read anew when it changes. A file that is damaged or gone vetoes
 * everything, since nobody knows what it would have said. A change is taken within half a second; whoever writes the file
 * in place and not by renaming is not caught in the middle, because what cannot be read is looked at twice.
 */

import { open, stat } from 'node:fs/promises'
import { z } from 'zod'
import '#infra/plain-words.ts'
import type { Logger } from '#infra/log.ts'
import { compileVeto, type Veto, VetoFile, type VetoQuestion } from './rules.ts'

export interface SiteVeto extends Disposable {
  /** Why the site owner refuses this, for audit; undefined when nothing is against it. */
  reasonAgainst(question: VetoQuestion): string | undefined
  /** Differs from before when something that was allowed may be refused now. */
  readonly turn: string
  /** For the connector's status. */
  readonly problem: string | undefined
}

interface Rules {
  readonly veto: Veto
  readonly hasHours: boolean
  readonly count: number
}

const pollMs = 200
/** A file system that does not answer says no more than a file that is gone. */
const slowestMs = 5_000
const maxBytes = 1_048_576
const minuteMs = 60_000

/** Resolves when the file has been read, whatever is in it. */
export async function watchVeto(path: string, log: Logger): Promise<SiteVeto> {
  const file = new WatchedFile(path, log)
  await file.poll(true)
  file.start()
  return file
}

/** Reads and checks a whole file. @throws Error that says what is wrong with it. */
export async function readVeto(path: string): Promise<Rules> {
  const file = parse(await readBounded(path))
  const hasHours = file.rules.some(({ hours }) => hours !== undefined)
  return { veto: compileVeto(file), hasHours, count: file.rules.length }
}

class WatchedFile implements SiteVeto {
  readonly #path: string
  readonly #log: Logger
  /** Undefined while everything is refused. */
  #rules: Rules | undefined
  #problem: string | undefined
  #version = 0
  #seen = ''
  #isSuspect = false
  #pollingSince: number | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(path: string, log: Logger) {
    this.#path = path
    this.#log = log
  }

  get problem(): string | undefined {
    return this.#problem
  }

  get turn(): string {
    const minute = this.#rules?.hasHours ? Math.floor(Date.now() / minuteMs) : 0
    return `${this.#version} ${minute}`
  }

  reasonAgainst(question: VetoQuestion): string | undefined {
    if (!this.#rules) return `everything: ${this.#problem}`
    const rule = this.#rules.veto(question)
    return rule === undefined ? undefined : `the site owner's rule "${rule}"`
  }

  start(): void {
    this.#timer = setInterval(() => void this.poll(), pollMs)
  }

  /** Looks whether the file has changed. What it cannot read counts at the second look, or at once. */
  async poll(isFirst = false): Promise<void> {
    if (this.#pollingSince !== undefined) {
      if (performance.now() - this.#pollingSince > slowestMs) this.#fail('it does not answer')
      return
    }
    this.#pollingSince = performance.now()
    const seen = await this.#look()
    if (seen instanceof Error) {
      if (isFirst || this.#isSuspect) this.#fail(seen.message)
      this.#isSuspect = true
    } else this.#isSuspect = false
    this.#pollingSince = undefined
  }

  async #look(): Promise<Error | undefined> {
    try {
      const { mtimeMs, ctimeMs, size, ino } = await stat(this.#path)
      const seen = [mtimeMs, ctimeMs, size, ino].join()
      if (this.#rules && seen === this.#seen) return undefined
      const rules = await readVeto(this.#path)
      this.#seen = seen
      this.#take(rules)
      return undefined
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  #take(rules: Rules): void {
    this.#rules = rules
    this.#problem = undefined
    this.#version++
    this.#log.info({ path: this.#path, rules: rules.count }, "the site owner's veto is in force")
  }

  #fail(reason: string): void {
    const problem = `the site owner's veto file cannot be used: ${reason}`
    if (problem === this.#problem) return
    this.#rules = undefined
    this.#problem = problem
    this.#version++
    this.#log.error(
      { path: this.#path, reason },
      'everything is refused: the veto file is unusable',
    )
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

async function readBounded(path: string): Promise<string> {
  await using file = await open(path).catch(error => {
    throw new Error(`it cannot be read (${error.code})`, { cause: error })
  })
  const buffer = Buffer.alloc(maxBytes + 1)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length)
    if (bytesRead === 0) break
    length += bytesRead
  }
  if (length > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`)
  return buffer.toString('utf8', 0, length)
}

function parse(text: string): VetoFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new Error(`it is not JSON: ${(error as Error).message}`, { cause: error })
  }
  const result = VetoFile.safeParse(value)
  if (result.success) return result.data
  throw new Error(z.prettifyError(result.error))
}
