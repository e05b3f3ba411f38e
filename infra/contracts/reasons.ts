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
} as const
export type DecisionReason = keyof typeof decisionReasons

/** What a sign-in can say. */
export const signInReasons = {
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
  return (decisionReasons as Readonly<Record<string, string>>)[reason] ?? reason
}
