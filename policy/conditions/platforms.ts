/**
 * Condition `platforms`. What a device is comes from its user agent, which anybody can forge: as in Entra, a policy for
 * safety includes all platforms and excludes the wanted ones, so that the unknown is in it.
 */

import { type Condition, within } from './condition.ts'

export const platforms: Condition = {
  reasons: { met: 'platform-in-scope', unmet: 'platform-not-in-scope' },
  analysis: 'devicePlatform',
  compile({ platforms: condition }) {
    if (!condition) return undefined
    const { includePlatforms, excludePlatforms } = condition
    if (includePlatforms.length + excludePlatforms.length === 0) return undefined
    const isIn = (wanted: readonly string[]) => {
      const names = new Set(wanted)
      return (platform: string | undefined) =>
        names.has('all') ? true : platform === undefined ? undefined : names.has(platform)
    }
    const [include, exclude] = [isIn(includePlatforms), isIn(excludePlatforms)]
    return ({ devicePlatform }) =>
      within(
        includePlatforms.length === 0 ? true : include(devicePlatform),
        excludePlatforms.length === 0 ? false : exclude(devicePlatform),
      )
  },
}
