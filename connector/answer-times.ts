/**
 * How long the origins take through this connector until they answer, application by application: they differ, so a
 * member of a group is compared with the others for each of them alone. Kept as sums of logarithms, for what counts is
 * how many times slower it is; what is older than a second or two fades.
 */

import type { GroupPace, PaceReport } from '#infra/contracts/connector.ts'

/** Fewer answers than these say too little. */
const minAnswers = 50

/** What is shorter is not measured: loopback and caches. */
const shortestMs = 0.1

/** What is remembered after each interval of what was there before. */
const remembered = 0.5

/** A difference below this is no harm, however large the factor: a busy machine makes as much. */
const harmlessMs = 10

interface Sum {
  answers: number
  logarithms: number
}

export class AnswerTimes {
  readonly #sums = new Map<string, Sum>()

  add(applicationId: string, ms: number): void {
    let sum = this.#sums.get(applicationId)
    if (!sum) {
      sum = { answers: 0, logarithms: 0 }
      this.#sums.set(applicationId, sum)
    }
    sum.answers++
    sum.logarithms += Math.log(Math.max(ms, shortestMs))
  }

  /** To be called once an interval: forgets half of everything. */
  fade(): void {
    for (const [applicationId, sum] of this.#sums) {
      sum.answers *= remembered
      sum.logarithms *= remembered
      if (sum.answers < 1) this.#sums.delete(applicationId)
    }
  }

  /** Of an interval of one second, before it fades. */
  report(): PaceReport {
    let answers = 0
    const applications: PaceReport['applications'] = []
    for (const [applicationId, sum] of this.#sums) {
      answers += sum.answers
      if (sum.answers < minAnswers) continue
      applications.push({ applicationId, answerMs: Math.exp(sum.logarithms / sum.answers) })
    }
    return { answersPerSecond: answers * (1 - remembered), applications }
  }

  /** How many times as long as its group this member takes for the same applications; 1 when that is not known. */
  slownessBeside(pace: GroupPace): number {
    let answers = 0
    let own = 0
    let usual = 0
    for (const { applicationId, answerMs } of pace.applications) {
      const sum = this.#sums.get(applicationId)
      if (!sum || sum.answers < minAnswers) continue
      answers += sum.answers
      own += sum.logarithms
      usual += sum.answers * Math.log(answerMs)
    }
    if (answers === 0) return 1
    const ownMs = Math.exp(own / answers)
    const usualMs = Math.exp(usual / answers)
    return ownMs - usualMs < harmlessMs ? 1 : ownMs / usualMs
  }
}
