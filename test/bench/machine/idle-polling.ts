/**
 * How long the idle cores of a virtual machine poll for work before they halt. To wake one that has halted is an exit to
 * the hypervisor: tens of microseconds for every hop of a chain of processes, whoever they are. Linux polls for 200 µs
 * unless it is told otherwise, and clouds tell it otherwise (Documentation/virt/guest-halt-polling.rst).
 */

import { readFileSync, writeFileSync } from 'node:fs'

const governorFile = '/sys/devices/system/cpu/cpuidle/current_governor'
const settingFile = '/sys/module/haltpoll/parameters/guest_halt_poll_ns'

export const linuxDefaultUs = 200

/** In µs; undefined where it is not this setting that says so, as on a machine of its own. */
export function idlePollingUs(): number | undefined {
  try {
    if (readFileSync(governorFile, 'utf8').trim() !== 'haltpoll') return undefined
    return Number(readFileSync(settingFile, 'utf8')) / 1_000
  } catch {
    return undefined
  }
}

/** Has idle cores poll as Linux does by default until it is disposed of, or why that cannot be. */
export function startDefaultPolling(): Disposable | string {
  const foundUs = idlePollingUs()
  if (foundUs === undefined) return 'not measured: idle polling cannot be set on this machine'
  if (foundUs >= linuxDefaultUs) return 'not measured: idle cores of this machine poll anyway'
  try {
    setPolling(linuxDefaultUs)
  } catch {
    return 'not measured: only root can set idle polling'
  }
  const restore = () => setPolling(foundUs)
  process.once('exit', restore)
  return {
    [Symbol.dispose]() {
      process.off('exit', restore)
      restore()
    },
  }
}

function setPolling(us: number): void {
  writeFileSync(settingFile, String(us * 1_000))
}
