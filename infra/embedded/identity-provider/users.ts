/**
 * The people of the embedded identity provider. Their passwords and codes are public: they stand on its sign-in
 * page. Comparing takes the same time whatever was typed, so that the pattern is right where somebody copies it.
 */

import { createHash, timingSafeEqual } from 'node:crypto'

export interface SampleUser {
  /** `sub`: never the name, so that nothing can mistake one for the other. */
  subject: string
  /** User principal name; what is typed at sign-in. */
  name: string
  displayName: string
  password: string
  /** Second factor, asked for when `acr_values` demands it. */
  code: string
  groups: string[]
}

export const sampleUsers: readonly SampleUser[] = [
  {
    subject: 'b2f0c1a4-6d0e-4a51-9c3b-5e8e0a11ce01',
    name: 'alice@sallyport.example',
    displayName: 'Alice Adams',
    password: 'wonderland',
    code: '271828',
    groups: ['staff', 'finance', 'warehouse'],
  },
  {
    subject: 'c94d7e10-18b7-4f5c-8f0a-70b1d2b0b002',
    name: 'bob@sallyport.example',
    displayName: 'Bob Brown',
    password: 'builder',
    code: '141421',
    groups: ['staff'],
  },
  {
    subject: 'e07a52d6-93c8-4d2e-a6f1-41c3ca701003',
    name: 'carol@sallyport.example',
    displayName: 'Carol Chen',
    password: 'compass',
    code: '161803',
    groups: ['staff', 'engineering', 'administrators'],
  },
]

export function userBySubject(subject: string | undefined): SampleUser | undefined {
  return sampleUsers.find(user => user.subject === subject)
}

/** The user if name and password fit. The name is taken without regard to case. */
export function userByPassword(name: string, password: string): SampleUser | undefined {
  const user = sampleUsers.find(candidate => candidate.name === canonicalName(name))
  const isRight = equalSecrets(user?.password ?? '', password)
  return isRight && password !== '' ? user : undefined
}

export function isCodeOf(user: SampleUser, code: string): boolean {
  return equalSecrets(user.code, code.replace(/\s/g, ''))
}

export function canonicalName(name: string): string {
  return name.trim().toLowerCase()
}

function equalSecrets(expected: string, given: string): boolean {
  return timingSafeEqual(digest(expected), digest(given))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
