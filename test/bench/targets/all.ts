/** Starts targets by their names, and sees to it that each one answers before anything is measured. */

import { setTimeout as sleep } from 'node:timers/promises'
import { askOnce } from '../load/ask.ts'
import { inOneLine } from '../report/format.ts'
import { chisel } from './chisel.ts'
import { direct } from './direct.ts'
import { fastifyProxy } from './fastify-proxy.ts'
import { frpHttp, frpTcp } from './frp.ts'
import { haproxy } from './haproxy.ts'
import { natsTunnel } from './nats-tunnel.ts'
import { nginx } from './nginx.ts'
import { nodeProxy } from './node-proxy.ts'
import { oauth2Proxy } from './oauth2-proxy.ts'
import { sallyport } from './sallyport.ts'
import { ssh } from './ssh.ts'
import {
  isMissing,
  type MissingTarget,
  type Start,
  type StartOptions,
  type Target,
  type TargetName,
} from './target.ts'

const starts: Record<TargetName, Start> = {
  direct,
  nginx,
  haproxy,
  'node-proxy': nodeProxy,
  'fastify-proxy': fastifyProxy,
  'nats-tunnel': natsTunnel,
  ssh,
  chisel,
  'frp-tcp': frpTcp,
  'frp-http': frpHttp,
  'oauth2-proxy': oauth2Proxy,
  sallyport,
}

export interface Started extends AsyncDisposable {
  readonly targets: readonly Target[]
  readonly missing: readonly MissingTarget[]
}

/** Those that cannot be started here are missing, with the reason. @throws when ours is among them. */
export async function startTargets(
  names: readonly TargetName[],
  options: StartOptions,
  /** What starts a target in place of what usually does. */
  startFor: (name: TargetName, usual: Start) => Start = (_, usual) => usual,
): Promise<Started> {
  await using stack = new AsyncDisposableStack()
  const targets: Target[] = []
  const missing: MissingTarget[] = []
  for (const name of names) {
    const started = await startOne(startFor(name, starts[name]), options).catch(
      (error): MissingTarget => {
        if (name === 'sallyport') throw error
        process.exitCode = 1
        return { name, note: `FAILED to start: ${inOneLine(error)}`, hasFailed: true }
      },
    )
    if (isMissing(started)) missing.push(started)
    else targets.push(stack.use(started))
  }
  const owned = stack.move()
  return { targets, missing, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

async function startOne(start: Start, options: StartOptions): Promise<Target | MissingTarget> {
  const started = await start(options)
  if (isMissing(started)) return started
  await using stack = new AsyncDisposableStack()
  stack.use(started)
  await untilAnswers(started)
  stack.move()
  return started
}

const answersWithinMs = 15_000

/** A port that accepts connections may have nobody behind it yet. */
async function untilAnswers(target: Target): Promise<void> {
  for (const until = performance.now() + answersWithinMs; ; ) {
    try {
      return await askOnce(target, '/json')
    } catch (error) {
      if (performance.now() > until) throw error
      await sleep(50)
    }
  }
}
