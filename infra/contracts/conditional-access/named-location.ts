/**
 * Graph's namedLocation: ranges of addresses, or countries and regions. The kind is said by `@odata.type`, as in Graph;
 * what has the properties of one kind only may leave it out.
 */

import { BlockList, isIP } from 'node:net'
import { z } from 'zod'
import { notEnforced, withoutAnnotations, word } from '../graph.ts'

const Cidr = z
  .string()
  .trim()
  .refine(isCidr, { error: 'must be a range in CIDR form, as in 192.0.2.0/24 or 2001:db8::/32' })

function isCidr(text: string): boolean {
  const [address = '', length = '', ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(length)) return false
  try {
    new BlockList().addSubnet(address, Number(length), family === 4 ? 'ipv4' : 'ipv6')
    return true
  } catch {
    return false
  }
}

/** Graph tells IPv4 and IPv6 ranges apart by type; the address says it as well. */
const IpRange = z.preprocess(withoutAnnotations, z.strictObject({ cidrAddress: Cidr }))

const common = {
  id: z.string().regex(/^[A-Za-z0-9][\w-]{0,127}$/),
  displayName: z.string().trim().min(1).max(256),
  createdDateTime: z.iso.datetime(),
  modifiedDateTime: z.iso.datetime().nullable(),
}

const ipKind = '#microsoft.graph.ipNamedLocation'
const countryKind = '#microsoft.graph.countryNamedLocation'

const ofAddresses = {
  ipRanges: z.array(IpRange).min(1, 'needs at least one range').max(2_000),
  isTrusted: z
    .boolean()
    .nullish()
    .transform(isTrusted => isTrusted ?? false),
}

const ofCountries = {
  countriesAndRegions: z
    .array(
      z
        .string()
        .trim()
        .regex(/^[A-Za-z]{2}$/, 'must be a country in two letters (ISO 3166-1), as in FR')
        .transform(code => code.toUpperCase()),
    )
    .max(300),
  /** Addresses that belong to no country. */
  includeUnknownCountriesAndRegions: z
    .boolean()
    .nullish()
    .transform(value => value ?? false),
  countryLookupMethod: word(['clientIpAddress'], ['authenticatorAppGps'])
    .nullish()
    .transform(method => method ?? 'clientIpAddress'),
}

/** An entry of the bucket. */
export const NamedLocation = z.discriminatedUnion('@odata.type', [
  z.object({ '@odata.type': z.literal(ipKind), ...common, ...ofAddresses }),
  z.object({ '@odata.type': z.literal(countryKind), ...common, ...ofCountries }),
])
export type NamedLocation = z.output<typeof NamedLocation>

/** What policies call places that are no single named location. */
export const everywhere: ReadonlySet<string> = new Set(['all', 'alltrusted'])

const entering = {
  id: common.id
    .refine(id => !everywhere.has(id.toLowerCase()), {
      error: 'must not be All or AllTrusted: policies mean every location by these',
    })
    .optional(),
  displayName: common.displayName,
  createdDateTime: z.string().nullish(),
  modifiedDateTime: z.string().nullish(),
  deletedDateTime: notEnforced('leave it out or empty'),
}

/** A body of the admin API, an item of a file. */
export const NamedLocationInput = z.preprocess(
  withKind,
  z.discriminatedUnion(
    '@odata.type',
    [
      z.strictObject({ '@odata.type': z.literal(ipKind), ...entering, ...ofAddresses }),
      z.strictObject({ '@odata.type': z.literal(countryKind), ...entering, ...ofCountries }),
    ],
    { error: `must be ${ipKind} or ${countryKind}` },
  ),
)
export type NamedLocationInput = z.output<typeof NamedLocationInput>

/** Annotations but for the kind are dropped. */
function withKind(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const given = Reflect.get(value, '@odata.type')
  const said = given === undefined ? kindOf(value) : given
  const kind = typeof said === 'string' ? said.replace(/^(?!#)/, '#') : said
  return { ...(withoutAnnotations(value) as object), '@odata.type': kind }
}

function kindOf(value: object): string | undefined {
  const isOfCountries = 'countriesAndRegions' in value
  if (isOfCountries === 'ipRanges' in value) return undefined
  return isOfCountries ? countryKind : ipKind
}

export function isOfCountries(
  location: NamedLocation,
): location is Extract<NamedLocation, { '@odata.type': typeof countryKind }> {
  return location['@odata.type'] === countryKind
}
