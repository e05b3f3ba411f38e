/** Every case, in the order in which they are measured and shown. */

import type { Case } from '../case.ts'
import { besideBulk } from './beside-bulk.ts'
import { decisions } from './decisions.ts'
import { growth } from './growth.ts'
import { idleWebSockets, stalledDownloads } from './held-streams.ts'
import { oneByOne, oneByOnePolling, pages, smallJson } from './requests.ts'
import { slowConnector } from './slow-connector.ts'
import { tls } from './tls.ts'
import { download, firstByte, upload } from './transfers.ts'
import { withoutAudit } from './without-audit.ts'

export const cases: readonly Case[] = [
  smallJson,
  withoutAudit,
  oneByOne,
  oneByOnePolling,
  tls,
  pages,
  download,
  upload,
  firstByte,
  besideBulk,
  slowConnector,
  idleWebSockets,
  stalledDownloads,
  growth,
  decisions,
]
