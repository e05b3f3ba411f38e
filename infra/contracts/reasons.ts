/**
 * The words in which decisions and sign-ins give their reasons: at least a pair per condition, one for satisfied, one
 * or more for not. They stand in audit events, leases, error pages and scripts of others, so a word never changes its
 * meaning.
 */

/** What a decision can say, with the sentence for the person whom it concerns. */
export const decisionReasons = {
  'application-unknown': 'This application is not published, or no longer.',
  'session-ok': 'You are signed in.',
  'session-not-needed': 'This application lets everybody in without signing in.',
  'session-required': 'This application is for signed-in users, and you are not signed in.',
  'session-unknown': 'There is no such session, or no longer.',
  'session-expired': 'Your session is older than sessions may get.',
  'session-revoked': 'Your session was ended: you signed out, or somebody ended it.',
  'users-ok': 'You, or one of your groups, are assigned to this application.',
  'users-not-required': 'This application lets every signed-in user in.',
  'users-not-assigned': 'Neither you nor any of your groups is assigned to this application.',
  'no-policy-applies': 'No policy applies.',
  'policy-blocks': 'A policy does not allow this access.',
  'policy-unusable': 'A policy cannot be read, so nobody knows whether it would allow this access.',
  'multifactor-ok': 'You signed in with a second factor.',
  'multifactor-required': 'This needs a sign-in with a second factor.',
  'authentication-strength-ok': 'You signed in with a method that is strong enough.',
  'authentication-strength-required': 'This needs a stronger method of signing in.',
  'device-compliant': 'Your device is compliant.',
  'compliant-device-required': 'This needs a device that is known to be compliant.',
  'device-domain-joined': "Your device is joined to the organisation's domain.",
  'domain-joined-device-required':
    "This needs a device that is joined to the organisation's domain.",
  'sign-in-recent': 'You signed in recently enough.',
  'sign-in-too-old': 'This needs a more recent sign-in.',
} as const
export type DecisionReason = keyof typeof decisionReasons

/** What the conditions of a policy say: for each one, that it is met and that it is not. */
export const conditionReasons = {
  'application-in-scope': 'The policy is for this application.',
  'application-not-in-scope': 'The policy is not for this application.',
  'user-in-scope': 'The policy is for this user.',
  'user-not-in-scope': 'The policy is not for this user.',
  'client-app-in-scope': 'The policy is for this kind of program.',
  'client-app-not-in-scope': 'The policy is not for this kind of program.',
  'platform-in-scope': 'The policy is for this kind of device.',
  'platform-not-in-scope': 'The policy is not for this kind of device.',
  'location-in-scope': 'The policy is for this location.',
  'location-not-in-scope': 'The policy is not for this location.',
  'device-in-scope': 'The policy is for this device.',
  'device-not-in-scope': 'The policy is not for this device.',
  'sign-in-risk-in-scope': 'The policy is for this risk of the sign-in.',
  'sign-in-risk-not-in-scope': 'The policy is not for this risk of the sign-in.',
  'user-risk-in-scope': 'The policy is for this risk of the user.',
  'user-risk-not-in-scope': 'The policy is not for this risk of the user.',
  'authentication-flow-in-scope': 'The policy is for this way of signing in.',
  'authentication-flow-not-in-scope': 'The policy is not for this way of signing in.',
  'facts-hold': 'The facts hold that the policy depends on.',
  'facts-do-not-hold': 'The facts do not hold that the policy depends on.',
  'methods-in-scope': 'The policy is for requests that may change something.',
  'methods-not-in-scope': 'The policy is not for requests that change nothing.',
  'time-in-scope': 'The policy is for this time.',
  'time-not-in-scope': 'The policy is not for this time.',
} as const
export type ConditionReason = keyof typeof conditionReasons

/** What a sign-in can say. */
const signInReasons = {
  'id-token-ok': 'The identity provider vouches for the user.',
  'id-token-malformed': 'The ID token is not a signed JWT.',
  'id-token-algorithm-refused': 'The ID token is not signed with an asymmetric algorithm.',
  'id-token-key-unknown': 'The ID token is signed with a key that the provider does not publish.',
  'id-token-signature-invalid': 'The signature of the ID token is wrong.',
  'id-token-wrong-issuer': 'The ID token is from another identity provider.',
  'id-token-wrong-audience': 'The ID token is for another client.',
  'id-token-expired': 'The ID token has expired.',
  'id-token-not-fresh': 'The ID token was issued too long ago, or in the future.',
  'id-token-claims-unusable':
    'The ID token lacks a claim that is needed, or has it in another form.',
  'user-name-missing': 'The ID token has none of the claims upn, preferred_username and email.',
  'provider-unavailable': 'The identity provider could not be asked for its keys.',
  'store-unavailable': 'The session could not be stored.',
} as const
export type SignInReason = keyof typeof signInReasons

/** The sentence behind a word; a word that is not of this version stands for itself. */
export function reasonSentence(reason: string): string {
  const known: Readonly<Record<string, string>> = {
    ...signInReasons,
    ...conditionReasons,
    ...decisionReasons,
  }
  return known[reason] ?? reason
}
