/** `WWW-Authenticate` (RFC 9110 §11.6.1) as far as Negotiate (RFC 4559) is concerned, alone or in a list of challenges. */

const negotiate = /(^|,)\s*negotiate(?:\s+([A-Za-z0-9._~+/-]+=*))?\s*(?=,|$)/gi

export interface NegotiateChallenge {
  /** The application's reply, if it gave one. */
  readonly reply: Buffer | undefined
}

export function negotiateChallenge(headers: readonly string[]): NegotiateChallenge | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (!isChallenge(headers[i] as string)) continue
    const [found] = (headers[i + 1] as string).matchAll(negotiate)
    if (!found) continue
    const [, , token] = found
    return { reply: token === undefined ? undefined : Buffer.from(token, 'base64') }
  }
  return undefined
}

/** The same headers without it: the client is not the one who is asked. */
export function withoutNegotiate(headers: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < headers.length; i += 2) {
    const [name, value] = [headers[i] as string, headers[i + 1] as string]
    if (!isChallenge(name)) {
      kept.push(name, value)
      continue
    }
    const rest = value
      .replace(negotiate, '')
      .replace(/^\s*,\s*/, '')
      .trim()
    if (rest !== '') kept.push(name, rest)
  }
  return kept
}

function isChallenge(name: string): boolean {
  return name.length === 16 && name.toLowerCase() === 'www-authenticate'
}
