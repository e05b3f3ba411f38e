/** Condition `clientAppTypes`: a browser, or another program; `all` or nothing named is all of them. */

import type { Condition } from './condition.ts'

export const clientAppTypes: Condition = {
  reasons: { met: 'client-app-in-scope', unmet: 'client-app-not-in-scope' },
  analysis: 'clientApps',
  compile({ clientAppTypes: types }) {
    if (types.length === 0 || types.includes('all')) return undefined
    const wanted = new Set<string>(types)
    return ({ clientAppType }) => clientAppType && wanted.has(clientAppType)
  },
}
