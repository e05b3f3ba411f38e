/** `sallyport veto check FILE`: says whether a connector could use a veto file, before it is given to one. */

import { readVeto } from './site-veto.ts'

/** Exit status 0 when it can be used, 1 when not. */
export async function checkVetoFile(path: string): Promise<number> {
  try {
    const { count } = await readVeto(path)
    process.stdout.write(`${path} can be used: ${count} ${count === 1 ? 'rule' : 'rules'}\n`)
    return 0
  } catch (error) {
    process.stderr.write(
      `sallyport: ${path} cannot be used, and with it a connector would refuse everything:\n${(error as Error).message}\n`,
    )
    return 1
  }
}
