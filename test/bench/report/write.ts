/** Results as files: RESULTS.md for people, results.json with every round for programs, and the plots. */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { CaseResult } from '../measure.ts'
import type { Circumstances } from './circumstances.ts'
import { type Judged, judge } from './goal.ts'
import { goals } from './goals.ts'
import { pageOf } from './page.ts'
import { plotsOf } from './plots.ts'
import { Results } from './results.ts'

export interface Report {
  readonly judged: readonly Judged[]
  /** By file name. */
  readonly files: Readonly<Record<string, string>>
}

export function reportOf(cases: readonly CaseResult[], circumstances: Circumstances): Report {
  const results = new Results(cases)
  const judged = goals.map(goal => judge(goal, results))
  const plots = plotsOf(results)
  const page = pageOf({ results, judged, circumstances, plots })
  const raw = { ...circumstances, judged, cases }
  const images = plots.map(({ file, svg }) => [file, svg] as const)
  return {
    judged,
    files: {
      'RESULTS.md': page,
      'results.json': `${JSON.stringify(raw, undefined, 1)}\n`,
      ...Object.fromEntries(images),
    },
  }
}

export async function writeReport({ files }: Report, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content)
}
