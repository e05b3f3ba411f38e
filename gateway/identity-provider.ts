/**
 * The OpenID provider as the gateway uses it: authorization code flow with PKCE (openid-client does the protocol),
 * end of session. Its metadata is fetched when it is first needed, so a gateway starts while the provider is away.
 */

import * as oidc from 'openid-client'
import { type Challenge, maxIdTokenBytes } from '#infra/contracts/policy.ts'
import { detailOf, SallyportError } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { type SeldomLog, seldom } from '#infra/seldom-log.ts'
import type { GatewayConfig } from './config.ts'
import type { SignInParameters } from './sign-in-state.ts'

/** Longest wait for one answer of the provider. */
const providerTimeoutSeconds = 10

/** The token of somebody in hundreds of groups makes an address that many servers refuse; without it providers ask. */
const maxHintChars = 6_000

export interface IdentityProvider {
  /** Where the browser goes to sign in. */
  authorizationUrl(parameters: SignInParameters, wanted: Challenge | undefined): Promise<URL>
  /**
   * Exchanges the code of a callback for the raw ID token, which openid-client has verified; undefined when the provider
   * does not take the code, because it has been used or is too old (RFC 6749 §5.2).
   * @throws SallyportError `id_token_too_large` for one that policy would not look at.
   */
  idToken(callback: URL, parameters: SignInParameters): Promise<string | undefined>
  /** Where the browser goes to end the provider's session; undefined when the provider offers none. */
  endSessionUrl(idToken: string | undefined): Promise<URL | undefined>
}

export function createIdentityProvider(
  config: GatewayConfig['identityProvider'],
  { portalUrl, log }: { portalUrl: string; log: Logger },
): IdentityProvider {
  const warn = seldom(log)
  const redirectUri = new URL('.sallyport/callback', portalUrl).href
  const signedOutUri = new URL('.sallyport/signed-out', portalUrl).href
  let discovered: Promise<oidc.Configuration> | undefined
  const configuration = () => {
    discovered ??= discover(config).catch(error => {
      discovered = undefined
      throw error
    })
    return discovered
  }
  return {
    async authorizationUrl({ state, nonce, codeVerifier }, wanted) {
      return oidc.buildAuthorizationUrl(await configuration(), {
        redirect_uri: redirectUri,
        response_type: 'code',
        scope: config.scopes,
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
        ...(wanted && wanted.acrValues.length > 0 && { acr_values: wanted.acrValues.join(' ') }),
        ...(wanted?.maxAgeSeconds !== undefined && { max_age: String(wanted.maxAgeSeconds) }),
      })
    },
    async idToken(callback, { state, nonce, codeVerifier }) {
      const tokens = await oidc
        .authorizationCodeGrant(await configuration(), callback, {
          expectedState: state,
          expectedNonce: nonce,
          pkceCodeVerifier: codeVerifier,
          idTokenExpected: true,
        })
        .catch(error => {
          if (error instanceof oidc.ResponseBodyError && error.error === 'invalid_grant')
            return null
          throw signInError(error)
        })
      if (!tokens) return undefined
      if (!tokens.id_token) throw new SallyportError('sign_in_failed', 'no ID token')
      checkSize(tokens.id_token, warn)
      return tokens.id_token
    },
    async endSessionUrl(idToken) {
      const provider = await configuration()
      if (!provider.serverMetadata().end_session_endpoint) return undefined
      return oidc.buildEndSessionUrl(provider, {
        post_logout_redirect_uri: signedOutUri,
        ...(idToken !== undefined && idToken.length <= maxHintChars && { id_token_hint: idToken }),
      })
    },
  }
}

function checkSize({ length: bytes }: string, warn: SeldomLog): void {
  if (bytes <= maxIdTokenBytes) return
  const what = 'an ID token is too large; have the provider leave out groups that no one asks for'
  warn('size', { bytes, maxBytes: maxIdTokenBytes }, what)
  const detail = `an ID token of ${bytes} bytes, and ${maxIdTokenBytes} are the most`
  throw new SallyportError('id_token_too_large', detail)
}

async function discover(config: GatewayConfig['identityProvider']): Promise<oidc.Configuration> {
  const { issuer, clientId, clientSecret, trustsPlainHttp } = config
  try {
    return await oidc.discovery(
      new URL(issuer),
      clientId,
      { ...(clientSecret !== undefined && { client_secret: clientSecret }) },
      clientSecret === undefined ? oidc.None() : oidc.ClientSecretBasic(clientSecret),
      {
        timeout: providerTimeoutSeconds,
        ...(trustsPlainHttp && { execute: [oidc.allowInsecureRequests] }),
      },
    )
  } catch (cause) {
    throw new SallyportError('sign_in_unavailable', `${issuer} cannot be asked`, { cause })
  }
}

/** A refusal by the provider, or a provider that is away. */
function signInError(error: unknown): SallyportError {
  const detail = detailOf(error)
  const isAway =
    error instanceof TypeError ||
    (error instanceof oidc.ClientError &&
      (error.code === 'OAUTH_TIMEOUT' || isFailing(error.cause)))
  return new SallyportError(isAway ? 'sign_in_unavailable' : 'sign_in_failed', detail, {
    cause: error,
  })
}

/** It has not even looked at the code, or what stands in front of it has nobody to ask. */
function isFailing(answer: unknown): boolean {
  return answer instanceof Response && (answer.status >= 500 || answer.status === 429)
}
