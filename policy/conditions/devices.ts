/**
 * Condition `devices`: a filter rule over the properties of the device, or states that are excluded. The properties come
 * from the identity provider's token and from facts about the device.
 */

import { compileDeviceRule } from '#infra/contracts/conditional-access/device-rule.ts'
import type { Device } from '#infra/contracts/principal.ts'
import type { Condition, Test } from './condition.ts'

export const devices: Condition = {
  reasons: { met: 'device-in-scope', unmet: 'device-not-in-scope' },
  analysis: 'devices',
  compile({ devices: condition, deviceStates }) {
    const excluded = [...(condition?.excludeDevices ?? []), ...(deviceStates?.excludeStates ?? [])]
    const filter = condition?.deviceFilter
    if (excluded.length === 0 && !filter) return undefined
    const holds = filter && compileDeviceRule(filter.rule)
    const isIncluding = filter?.mode === 'include'
    return remembering(
      device => !excluded.some(is(device)) && (!holds || holds(device) === isIncluding),
    )
  },
}

/** The device of a session stays the same object, so it is looked at once for each policy. */
function remembering(test: (device: Device) => boolean): Test {
  const known = new WeakMap<Device, boolean>()
  return ({ device }) => {
    if (!device) return undefined
    let verdict = known.get(device)
    if (verdict === undefined) {
      verdict = test(device)
      known.set(device, verdict)
    }
    return verdict
  }
}

function is(device: Device): (state: 'Compliant' | 'DomainJoined') => boolean {
  return state => (state === 'Compliant' ? isCompliant(device) : isDomainJoined(device))
}

export function isCompliant({ isCompliant: value }: Device): boolean {
  return value === true || value === 'true'
}

/** Entra's word for a device that is joined to the organisation's own domain. */
export function isDomainJoined({ trustType }: Device): boolean {
  return trustType === 'ServerAD'
}
