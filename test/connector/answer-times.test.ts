/** When a connector counts as slower than its group: for the same applications, by a factor, and never by chance alone. */

import { expect, test } from 'vitest'
import { AnswerTimes } from '../../connector/answer-times.ts'

/** One that has answered so often, each time after the next of these times. */
function after(answers: number, times: Readonly<Record<string, readonly number[]>>): AnswerTimes {
  const measured = new AnswerTimes()
  for (const [applicationId, ms] of Object.entries(times)) {
    for (let i = 0; i < answers; i++) measured.add(applicationId, ms[i % ms.length] as number)
  }
  return measured
}

const group = (times: Readonly<Record<string, number>>) => ({
  answersPerSecond: 100,
  applications: Object.entries(times).map(([applicationId, answerMs]) => ({
    applicationId,
    answerMs,
  })),
})

test('ten times slower than the group is ten times slower', () => {
  expect(after(100, { wiki: [500] }).slownessBeside(group({ wiki: 50 }))).toBeCloseTo(10)
})

test('applications are compared each with itself: one that is slow everywhere slows nobody down', () => {
  const times = after(100, { wiki: [5], reports: [2_000] })
  expect(times.slownessBeside(group({ wiki: 5, reports: 2_000 }))).toBe(1)
  expect(times.slownessBeside(group({ wiki: 5, other: 1 }))).toBe(1)
})

test('of two applications alike in use, one that is a hundred times slower here makes it ten times', () => {
  const times = after(100, { wiki: [10], reports: [1_000] })
  expect(times.slownessBeside(group({ wiki: 10, reports: 10 }))).toBeCloseTo(10)
})

test('a few long polls among many short answers do not make it slow', () => {
  const mostlyShort = [...Array.from({ length: 19 }, () => 20), 30_000]
  expect(after(200, { wiki: mostlyShort }).slownessBeside(group({ wiki: 20 }))).toBeLessThan(2)
})

test('too few answers, and differences of a few milliseconds, say nothing', () => {
  expect(after(49, { wiki: [500] }).slownessBeside(group({ wiki: 5 }))).toBe(1)
  expect(after(100, { wiki: [10] }).slownessBeside(group({ wiki: 1 }))).toBe(1)
})

test('what it was before fades: a slow one that is fast again is as fast as the group within four intervals', () => {
  const times = after(100, { wiki: [500] })
  for (let interval = 0; interval < 4; interval++) {
    times.fade()
    for (let i = 0; i < 50; i++) times.add('wiki', 50)
  }
  expect(times.slownessBeside(group({ wiki: 50 }))).toBeLessThan(2)
})

test('it reports how many answers a second it gives, and only the applications of which it can tell', () => {
  const times = new AnswerTimes()
  for (let interval = 0; interval < 10; interval++) {
    times.fade()
    for (let i = 0; i < 80; i++) times.add('wiki', i % 2 === 0 ? 10 : 40)
    for (let i = 0; i < 4; i++) times.add('rare', 7)
  }
  const { answersPerSecond, applications } = times.report()
  expect(answersPerSecond).toBeCloseTo(84, 0)
  expect(applications).toHaveLength(1)
  expect(applications[0]?.applicationId).toBe('wiki')
  // Geometric: as much slower as faster.
  expect(applications[0]?.answerMs).toBeCloseTo(20)
})
