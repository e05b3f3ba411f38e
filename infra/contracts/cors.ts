/**
 * What pages of other origins may ask of an application with the session of their user: Graph's `corsConfiguration_v2`,
 * a list of them on `onPremisesPublishing`. Without one nobody but the application's own pages may (CORS: Fetch, CORS
 * protocol).
 */

import { z } from 'zod'
import { isAmbiguousPath } from '../http.ts'
import { isMethod } from './http-methods.ts'

/** Any method; at the end of a header's name, whatever begins like that. */
export const anything = '*'

/** The origin of a page that tells none: sandboxed frames, and forms of pages with `Referrer-Policy: no-referrer`. */
export const opaqueOrigin = 'null'

const originError =
  'must be an origin as browsers write it, such as "https://login.example.com" or ' +
  '"https://app.example.com:8443": scheme and host in lower case, no path and no usual port; "null" for forms of ' +
  'pages that tell no origin. There is no star: with it any page could act in the name of the user'

const AllowedOrigin = z
  .string({ error: originError })
  .max(300)
  .refine(
    text =>
      text === opaqueOrigin ||
      (/^https?:\/\//.test(text) && !text.includes(anything) && URL.parse(text)?.origin === text),
    { error: originError },
  )

const methodError = 'must be HTTP methods such as "GET" or "PUT", or "*" for any'

const headerError = 'must be names of header fields, or their beginning with a star, as in "X-*"'

const HeaderPattern = z
  .string({ error: headerError })
  .refine(text => isMethod(text) && !text.slice(0, -1).includes(anything), { error: headerError })

const ageError = 'must be a whole number of seconds from 0 to 86400'

const resourceError =
  'must be a path such as "/api", or "/" for the whole application: without query, "%", "*", "\\" and dot segments'

const Resource = z
  .string({ error: resourceError })
  .max(1_024)
  .regex(/^\/[^?#%*\s]*$/, { error: resourceError })
  .refine(path => !isAmbiguousPath(path), { error: resourceError })

export const maxCorsConfigurations = 50

const settings = {
  resource: Resource.describe(
    "Path below the application's external URL, with all that is below it.",
  ).default('/'),
  allowedOrigins: z
    .array(AllowedOrigin, {
      error: 'must be a list of origins, as in ["https://login.example.com"]',
    })
    .min(1, { error: 'must name an origin, or the whole entry be left out' })
    .max(100)
    .describe('Exactly as browsers send them.'),
  allowedMethods: z
    .array(z.string().refine(isMethod, { error: methodError }), { error: methodError })
    .min(1, { error: methodError })
    .max(100)
    .describe('["*"]: any.')
    .default(['GET', 'HEAD', 'POST']),
  allowedHeaders: z
    .array(HeaderPattern, { error: headerError })
    .max(100)
    .describe('Beyond those that need no permission; a star stands for the rest of a name.')
    .default([]),
  maxAgeInSeconds: z
    .int({ error: ageError })
    .min(0, { error: ageError })
    .max(86_400, { error: ageError })
    .describe('How long browsers may remember the answer to a preflight.')
    .default(600),
}

/** As it rests in the bucket, where a newer registry may have written more. */
export const CorsConfiguration = z.object(settings)
export type CorsConfiguration = z.output<typeof CorsConfiguration>

/** As a body may say it; Graph's answers have an id. */
export const CorsConfigurationInput = z
  .strictObject({ ...settings, id: z.string().optional() })
  .transform(({ id: _, ...configuration }): CorsConfiguration => configuration)

/** Of one application. Each adds to the others. */
export const corsConfigurationsOf = <Item extends z.ZodType>(item: Item) =>
  z.array(item).max(50, { error: 'must be at most 50' })
