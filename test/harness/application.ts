/** Applications as the bucket holds them, for tests of what works on them. */

import { Application } from '#infra/contracts/application.ts'

export function application(
  id: string,
  externalUrl: string,
  more: { internalUrl?: string; publishing?: object } & Partial<Application> = {},
): Application {
  const { internalUrl = 'http://10.0.0.5:3000/', publishing = {}, ...rest } = more
  return Application.parse({
    id,
    appId: crypto.randomUUID(),
    displayName: id,
    createdDateTime: new Date(0).toISOString(),
    ...rest,
    onPremisesPublishing: { externalUrl, internalUrl, ...publishing },
  })
}
