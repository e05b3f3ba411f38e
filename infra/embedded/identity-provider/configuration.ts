/**
 * Settings of oidc-provider, each for a reason: tokens that carry what access is decided on, no consent page, a
 * step-up that asks only for what is missing, nothing printed to the console.
 */

import Provider, {
  type Configuration,
  type ErrorOut,
  interactionPolicy,
  type KoaContextWithOIDC,
} from 'oidc-provider'
import { pageHeaders } from '../../page.ts'
import type { ProviderKeys } from './keys.ts'
import { failurePage } from './pages.ts'
import { signOutSources } from './sign-out.ts'
import type { ProviderStore } from './store.ts'
import { userBySubject } from './users.ts'

export interface IdentityProviderClient {
  id: string
  secret: string
  redirectUris: string[]
  postLogoutRedirectUris: string[]
  backchannelLogoutUri?: string
}

/** Authentication contexts: a password alone, or with a second factor. */
export const acrPassword = 'urn:sallyport:acr:password'
export const acrMultifactor = 'urn:sallyport:acr:mfa'

const scopes = ['openid', 'profile', 'email', 'groups', 'offline_access']
const hour = 3_600

export function createProvider(options: {
  issuer: string
  keys: ProviderKeys
  store: ProviderStore
  clients: readonly IdentityProviderClient[]
}): Provider {
  const { issuer, keys, store, clients } = options
  const cookie = { httpOnly: true, sameSite: 'lax', signed: true, overwrite: true } as const
  return new Provider(issuer, {
    adapter: model => store.adapter(model),
    jwks: { keys: keys.signingKeys },
    cookies: { keys: keys.cookieKeys, names: cookieNames(issuer), long: cookie, short: cookie },
    clients: clients.map(clientMetadata),
    clientBasedCORS: () => false,
    ...tokenContents,
    ...signInRules,
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true, ...signOutSources },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId,
      },
    },
    ttl: {
      AccessToken: 300,
      AuthorizationCode: 60,
      IdToken: 300,
      RefreshToken: 8 * hour,
      Grant: 8 * hour,
      Session: 8 * hour,
      Interaction: 600,
    },
    fetch: fetchFromLoopback,
    renderError,
  })
}

/** Cookies know no ports: two systems on one machine must not end each other's sessions. */
function cookieNames(issuer: string) {
  const { port } = new URL(issuer)
  return {
    session: `sallyport-idp-${port}`,
    interaction: `sallyport-idp-${port}-sign-in`,
    resume: `sallyport-idp-${port}-resume`,
  }
}

function clientMetadata(client: IdentityProviderClient) {
  return {
    client_id: client.id,
    client_secret: client.secret,
    redirect_uris: client.redirectUris,
    post_logout_redirect_uris: client.postLogoutRedirectUris,
    grant_types: ['authorization_code', 'refresh_token'],
    ...(client.backchannelLogoutUri !== undefined && {
      backchannel_logout_uri: client.backchannelLogoutUri,
      backchannel_logout_session_required: true,
    }),
  }
}

const tokenContents = {
  scopes,
  acrValues: [acrPassword, acrMultifactor],
  // All under openid and in the ID token: a gateway that asks for less scope than it needs would decide on less.
  claims: {
    openid: [
      'sub',
      'acr',
      'amr',
      'auth_time',
      'sid',
      'name',
      'preferred_username',
      'upn',
      'email',
      'groups',
    ],
    profile: [],
    email: [],
    groups: [],
  },
  conformIdTokenClaims: false,
  async findAccount(_ctx, subject) {
    const user = userBySubject(subject)
    if (!user) return undefined
    const { name, displayName, groups } = user
    const claims = {
      sub: subject,
      name: displayName,
      preferred_username: name,
      upn: name,
      email: name,
      groups,
    }
    return { accountId: subject, claims: () => claims }
  },
} satisfies Configuration

const signInRules = {
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_ctx, client, code) =>
    client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  interactions: {
    policy: stepUpPolicy(),
    url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
  },
  /** Every client is the operator's own, so nobody is asked for consent. */
  async loadExistingGrant(ctx) {
    const { client, session, provider } = ctx.oidc
    if (!client || !session?.accountId) return undefined
    const known = session.grantIdFor(client.clientId)
    const kept = known === undefined ? undefined : await provider.Grant.find(known)
    const grant =
      kept ?? new provider.Grant({ clientId: client.clientId, accountId: session.accountId })
    grant.addOIDCScope(scopes.join(' '))
    await grant.save()
    return grant
  },
} satisfies Configuration

/** `acr_values` alone never asks again; this check does when the session has less than is wanted. */
function stepUpPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base()
  const stepUp = new interactionPolicy.Check(
    'step_up',
    'a second factor is required',
    ctx => wantsMultifactor(ctx.oidc.params?.acr_values) && ctx.oidc.acr !== acrMultifactor,
  )
  policy.get('login')?.checks.add(stepUp)
  return policy
}

export function wantsMultifactor(acrValues: unknown): boolean {
  return typeof acrValues === 'string' && acrValues.split(' ').includes(acrMultifactor)
}

/** The library's own dispatcher refuses loopback addresses, and there the gateway's logout endpoint is. */
function fetchFromLoopback(url: string | URL | Request, options?: RequestInit): Promise<Response> {
  const { dispatcher: _, ...rest } = (options ?? {}) as RequestInit & { dispatcher?: unknown }
  return globalThis.fetch(url, rest)
}

function renderError(ctx: KoaContextWithOIDC, out: ErrorOut): void {
  ctx.set(pageHeaders)
  ctx.body = failurePage({
    status: ctx.status,
    code: out.error,
    title:
      ctx.status < 500 ? 'This sign-in request is not right.' : 'The identity provider failed.',
    advice: out.error_description
      ? `${out.error_description}. Start again from the portal; if it stays like this, tell your administrator.`
      : 'Start again from the portal.',
    supportId: crypto.randomUUID(),
  })
}
