/** Somebody signed in, reduced to what a request needs to carry: Host and the session cookie of one application. */

import type { TestSystem } from './system.ts'
import { UserAgent } from './user-agent.ts'

export interface Visitor {
  /** `http://NAME.sallyport.localhost:PORT/` */
  readonly url: string
  /** For requests of this session to the application, at whichever gateway. */
  readonly headers: Readonly<Record<string, string>>
  readonly user: string
}

/** Signs the sample user in at the application, as a browser does. */
export async function signInTo(
  system: TestSystem,
  application: string,
  user = 'alice@sallyport.example',
): Promise<Visitor> {
  const url = `http://${application}.sallyport.localhost:${system.port}/`
  const known = system.parts.identityProvider.users.find(({ name }) => name === user)
  if (!known) throw new Error(`${user} is no sample user`)
  using agent = new UserAgent()
  const page = await agent.signIn(url, user, known.password)
  if (page.url !== url) throw new Error(`signing in ended at ${page.url} with ${page.status}`)
  const cookie = agent.cookies.header(new URL(url))
  if (cookie === undefined) throw new Error(`no session cookie for ${url}`)
  return { url, user, headers: { host: new URL(url).host, cookie } }
}
