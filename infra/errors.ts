/**
 * Every way in which Sallyport fails, as one table, and the one error class that carries a row of it.
 * `title` may be shown to anybody; `detail` is for the log and may name what is internal.
 */

export interface Fault {
  /** HTTP status that a client sees. */
  readonly status: number
  /** Whether the same request may succeed when it is sent again without a change. */
  readonly retryable: boolean
  /** One plain sentence for the person in front of the screen. */
  readonly title: string
  /** What that person can do about it. */
  readonly advice: string
  /** The code that users and programs get in its place: this one says more than they should know. */
  readonly shownAs?: string
}

const tryAgain =
  'Try again in a moment. If it stays like this, tell your administrator the support id.'
const tellAdministrator = 'Tell your administrator the support id below.'

/** Of the origin's certificate: what did not match is for operators alone. */
const unproved = {
  status: 502,
  retryable: false,
  title: 'The application could not prove its identity.',
  advice: tellAdministrator,
} as const

export const FAULTS = {
  bad_request: {
    status: 400,
    retryable: false,
    title: 'The request could not be understood.',
    advice: 'Check the address. If a link brought you here, tell whoever published it.',
  },
  ambiguous_path: {
    status: 400,
    retryable: false,
    title: 'The address can be read in more than one way.',
    advice: 'Remove encoded slashes, backslashes and dot segments from the path.',
  },
  unauthenticated: {
    status: 401,
    retryable: false,
    title: 'You are not signed in.',
    advice: 'Sign in and repeat the request.',
  },
  insufficient_user_authentication: {
    status: 401,
    retryable: false,
    title: 'The way you signed in is not enough for this.',
    advice: 'Sign in again, as you are asked to, and repeat the request.',
  },
  cross_origin_refused: {
    status: 403,
    retryable: false,
    title: 'A page of another site tried to use your session.',
    advice: 'Open the application itself and repeat what you were doing there.',
  },
  access_denied: {
    status: 403,
    retryable: false,
    title: 'You may not use this application.',
    advice: 'If you need it, tell your administrator the support id.',
  },
  read_only: {
    status: 403,
    retryable: false,
    title: 'In this application you may only read at the moment.',
    advice:
      'Reading goes on. If you have to change something, tell your administrator the support id.',
  },
  session_revoked: {
    status: 401,
    retryable: false,
    title: 'Your session has ended.',
    advice: 'Sign in again.',
  },
  unknown_host: {
    status: 404,
    retryable: false,
    title: 'Nothing is published at this address.',
    advice: 'Check the address, or open the portal to see your applications.',
  },
  not_found: {
    status: 404,
    retryable: false,
    title: 'There is no such page.',
    advice: 'Check the address.',
  },
  method_not_allowed: {
    status: 405,
    retryable: false,
    title: 'This method cannot be used here.',
    advice: 'Use another method.',
  },
  request_timeout: {
    status: 408,
    retryable: true,
    title: 'The request took too long to arrive.',
    advice: 'Send it again, faster.',
  },
  uri_too_long: {
    status: 414,
    retryable: false,
    title: 'The address is too long.',
    advice: 'Use an address of at most 64 KiB.',
  },
  expectation_failed: {
    status: 417,
    retryable: false,
    title: 'What the request expects cannot be met.',
    advice: 'Leave the header Expect out, or send "Expect: 100-continue".',
  },
  headers_too_large: {
    status: 431,
    retryable: false,
    title: 'The headers of the request are too large.',
    advice: 'Delete the cookies of this site and try again. Headers may have 64 KiB in all.',
  },
  too_many_requests: {
    status: 429,
    retryable: true,
    title: 'Too many requests.',
    advice: 'Wait a little. A program waits as long as Retry-After says.',
  },
  internal: {
    status: 500,
    retryable: false,
    title: 'Something went wrong on our side.',
    advice: tellAdministrator,
  },
  not_implemented: {
    status: 501,
    retryable: false,
    title: 'The transfer coding of the request is not supported.',
    advice: 'Send the body with "Transfer-Encoding: chunked" or a Content-Length.',
  },
  method_not_implemented: {
    status: 501,
    retryable: false,
    title: 'The method of the request is not known.',
    advice: 'Use another method.',
  },
  version_not_supported: {
    status: 505,
    retryable: false,
    title: 'The HTTP version of the request is not supported.',
    advice: 'Use HTTP/1.1, or HTTP/2 over TLS.',
  },
  loop_detected: {
    status: 508,
    retryable: false,
    title: 'The request came back to where it had been.',
    advice: 'The internal URL of the application leads back here. Tell your administrator.',
  },
  origin_unreachable: {
    status: 502,
    retryable: true,
    title: 'The application does not answer.',
    advice: tryAgain,
  },
  origin_protocol_error: {
    status: 502,
    retryable: false,
    title: 'The application gave an answer that is not valid HTTP.',
    advice: tellAdministrator,
  },
  origin_certificate_invalid: unproved,
  origin_tls_untrusted: { ...unproved, shownAs: 'origin_certificate_invalid' },
  origin_tls_expired: { ...unproved, shownAs: 'origin_certificate_invalid' },
  origin_tls_wrong_name: { ...unproved, shownAs: 'origin_certificate_invalid' },
  origin_tls_wrong_pin: { ...unproved, shownAs: 'origin_certificate_invalid' },
  connector_lost: {
    status: 502,
    retryable: true,
    title: 'The connection to the application was lost.',
    advice:
      'Look whether what you sent has arrived before you send it again: it may have been carried out.',
  },
  connector_refused: {
    status: 502,
    retryable: false,
    title: 'The private network refused the request.',
    advice: tellAdministrator,
  },
  sign_on_failed: {
    status: 502,
    retryable: false,
    title: 'The application could not be told who you are.',
    advice: tellAdministrator,
  },
  origin_address_refused: {
    status: 502,
    retryable: false,
    title: 'The private network refused the request.',
    advice: tellAdministrator,
    shownAs: 'connector_refused',
  },
  site_veto: {
    status: 403,
    retryable: false,
    title: 'The owner of the site does not allow this.',
    advice:
      'Whoever runs the place where the application stands has decided so, and your administrator cannot change it: ask them.',
  },
  protocol_error: {
    status: 502,
    retryable: false,
    title: 'The private network gave an answer that could not be understood.',
    advice: tellAdministrator,
  },
  connectors_busy: {
    status: 503,
    retryable: true,
    title: 'The application has more to do than it can take.',
    advice: tryAgain,
  },
  bus_unavailable: {
    status: 503,
    retryable: true,
    title: 'The way to the private network is interrupted.',
    advice: tryAgain,
  },
  policy_unavailable: {
    status: 503,
    retryable: true,
    title: 'Access could not be decided.',
    advice: tryAgain,
  },
  sign_in_unavailable: {
    status: 503,
    retryable: true,
    title: 'Signing in is not possible at the moment.',
    advice: tryAgain,
  },
  sign_on_unavailable: {
    status: 504,
    retryable: true,
    title: 'The application cannot be told who you are at the moment.',
    advice: tryAgain,
  },
  no_connector: {
    status: 504,
    retryable: true,
    title: 'No connector of this application is online.',
    advice: tryAgain,
  },
  origin_timeout: {
    status: 504,
    retryable: true,
    title: 'The application took too long to answer.',
    advice: tryAgain,
  },
  sign_in_failed: {
    status: 403,
    retryable: false,
    title: 'Signing in did not succeed.',
    advice: 'Start again from the portal.',
  },
  id_token_too_large: {
    status: 403,
    retryable: false,
    title: 'The identity provider says more about you than can be taken.',
    advice: 'You may be in too many groups. Tell your administrator the support id below.',
  },
  resource_not_found: {
    status: 404,
    retryable: false,
    title: 'There is no such resource.',
    advice: 'Check the identifier.',
  },
  already_exists: {
    status: 409,
    retryable: false,
    title: 'Something else has this name or address already.',
    advice: 'Choose another one, or change the one that exists.',
  },
  in_use: {
    status: 409,
    retryable: false,
    title: 'This is still in use.',
    advice: 'Remove what uses it first.',
  },
  precondition_failed: {
    status: 412,
    retryable: false,
    title: 'This is not the state that the change was made for.',
    advice: 'Read it again and repeat your change.',
  },
  body_too_large: {
    status: 413,
    retryable: false,
    title: 'The request is too large.',
    advice: 'Send less at once.',
  },
  unsupported_media_type: {
    status: 415,
    retryable: false,
    title: 'The media type of the request is not supported.',
    advice: 'Send JSON with "Content-Type: application/json".',
  },
  conflict: {
    status: 409,
    retryable: false,
    title: 'Somebody else changed this in the meantime.',
    advice: 'Read it again and repeat your change.',
  },
  certificate_invalid: {
    status: 403,
    retryable: false,
    title: 'The certificate is not one of this installation.',
    advice: 'Enrol the connector anew: make a token with "sallyport connector-token".',
  },
  certificate_expired: {
    status: 403,
    retryable: false,
    title: 'The certificate of the connector has expired.',
    advice: 'Allow its renewal with "sallyport renew-connector ID", or enrol the connector anew.',
  },
  certificate_revoked: {
    status: 403,
    retryable: false,
    title: 'The certificate of the connector has been revoked.',
    advice: 'Enrol the connector anew: make a token with "sallyport connector-token".',
  },
  connector_disabled: {
    status: 403,
    retryable: false,
    title: 'The connector has been disabled.',
    advice: 'Enable it again, if it was not meant to be.',
  },
  connector_removed: {
    status: 410,
    retryable: false,
    title: 'The connector has been removed.',
    advice:
      'Enrol it anew, if it was not meant to be: make a token with "sallyport connector-token".',
  },
  token_invalid: {
    status: 403,
    retryable: false,
    title: 'The token is damaged or forged.',
    advice: 'Make a new one with "sallyport connector-token" and copy all of it.',
  },
  token_unknown: {
    status: 403,
    retryable: false,
    title: 'The token was not made by this installation, or is long over.',
    advice: 'Make a new one with "sallyport connector-token".',
  },
  token_used: {
    status: 403,
    retryable: false,
    title: 'The token has been used already.',
    advice:
      'Make a new one with "sallyport connector-token". If nobody of yours used it, look for who did: "sallyport connectors".',
  },
  token_expired: {
    status: 403,
    retryable: false,
    title: 'The token has expired.',
    advice: 'Make a new one with "sallyport connector-token"; it is good for an hour at most.',
  },
  connector_group_gone: {
    status: 403,
    retryable: false,
    title: 'The connector group does not exist any more.',
    advice:
      'Make a token, or allow the renewal, for a group that exists: "sallyport groups" lists them.',
  },
  connector_id_taken: {
    status: 409,
    retryable: false,
    title: 'There is a connector with this id.',
    advice: 'Choose another SALLYPORT_CONNECTOR_ID, or remove that connector first.',
  },
  clock_wrong: {
    status: 403,
    retryable: false,
    title: "The clock of the connector's host is wrong by more than 90 minutes.",
    advice: 'Set the clock of the host, best by NTP, and start again.',
  },
  enrolment_unavailable: {
    status: 503,
    retryable: true,
    title: 'Connectors cannot be enrolled at the moment.',
    advice:
      'Try again in a moment. If it stays like this, see that a registry with SALLYPORT_REGISTRY_AUTHORITY_PATH is running.',
  },
} as const satisfies Record<string, Fault>

export type FaultCode = keyof typeof FAULTS

export function isFaultCode(value: string): value is FaultCode {
  return Object.hasOwn(FAULTS, value)
}

/** The code of a fault for whoever sent the request. */
export function shownCode(code: FaultCode): string {
  const { shownAs }: Fault = FAULTS[code]
  return shownAs ?? code
}

/** A failure with a row of the fault table. `message` is the detail: for logs and operators, not for users. */
export class SallyportError extends Error {
  readonly code: FaultCode
  constructor(code: FaultCode, detail: string, options?: ErrorOptions) {
    super(detail, options)
    this.name = 'SallyportError'
    this.code = code
  }
  get fault(): Fault {
    return FAULTS[this.code]
  }
}

/** The error as it is, or as an `internal` one that keeps it as its cause. */
export function asSallyportError(error: unknown): SallyportError {
  if (error instanceof SallyportError) return error
  return new SallyportError('internal', detailOf(error), { cause: error })
}

/** What went wrong in words, of anything that can be thrown. */
export function detailOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
