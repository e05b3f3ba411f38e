/**
 * Where an address is, in terms of the named locations: worked out once for each address and remembered. A location by
 * country cannot be told without a country database, and one that is not there (any more) neither.
 */

import { BlockList, isIP } from 'node:net'
import { LRUCache } from 'lru-cache'
import {
  isOfCountries,
  type NamedLocation,
} from '#infra/contracts/conditional-access/named-location.ts'
import { any } from './conditions/condition.ts'

export interface Place {
  /** At any location that is marked as trusted. */
  readonly isTrusted: boolean | undefined
  isAt(locationId: string): boolean | undefined
}

/** ISO 3166-1 code; null for an address of no country; undefined when there is nothing to look it up in. */
export type CountryOf = (address: string) => string | null | undefined

/** What is known of where a sign-in comes from; a what-if may name the country itself. */
export interface Whereabouts {
  readonly address?: string | undefined
  readonly country?: string | undefined
}

const maxRemembered = 20_000

/** So long an address may stay in its former country after the database has changed. */
const rememberMs = 60_000

interface CompiledLocation {
  readonly id: string
  readonly isTrusted: boolean
  readonly covers: (from: Whereabouts) => boolean | undefined
}

export class Places {
  readonly #locations: readonly CompiledLocation[]
  readonly #remembered = new LRUCache<string, Place>({ max: maxRemembered, ttl: rememberMs })

  constructor(locations: Iterable<NamedLocation>, countryOf: CountryOf) {
    this.#locations = Array.from(locations, location => compile(location, countryOf))
  }

  at(address: string): Place {
    let place = this.#remembered.get(address)
    if (!place) {
      place = this.of({ address })
      this.#remembered.set(address, place)
    }
    return place
  }

  of(from: Whereabouts): Place {
    const verdicts = new Map(this.#locations.map(({ id, covers }) => [id, covers(from)]))
    const trusted = this.#locations.filter(({ isTrusted }) => isTrusted)
    return {
      isTrusted: any(trusted, ({ id }) => verdicts.get(id)),
      isAt: id => verdicts.get(id),
    }
  }
}

function compile(location: NamedLocation, countryOf: CountryOf): CompiledLocation {
  const { id } = location
  return isOfCountries(location)
    ? { id, isTrusted: false, covers: byCountry(location, countryOf) }
    : { id, isTrusted: location.isTrusted, covers: byAddress(location.ipRanges) }
}

function byAddress(ranges: readonly { cidrAddress: string }[]): CompiledLocation['covers'] {
  const list = new BlockList()
  for (const { cidrAddress } of ranges) {
    const [address = '', length] = cidrAddress.split('/')
    list.addSubnet(address, Number(length), isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
  return ({ address }) => {
    const family = address === undefined ? 0 : isIP(address)
    if (address === undefined || family === 0) return undefined
    return list.check(address, family === 4 ? 'ipv4' : 'ipv6')
  }
}

interface Countries {
  countriesAndRegions: readonly string[]
  includeUnknownCountriesAndRegions: boolean
}

function byCountry(location: Countries, countryOf: CountryOf): CompiledLocation['covers'] {
  const wanted = new Set(location.countriesAndRegions)
  return ({ address, country }) => {
    const found = country?.toUpperCase() ?? (address === undefined ? undefined : countryOf(address))
    if (found === null) return location.includeUnknownCountriesAndRegions
    return found === undefined ? undefined : wanted.has(found)
  }
}
