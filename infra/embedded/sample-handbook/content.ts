/** The text of the sample handbook: a small maker of weather instruments tells its people how things are done. */

import { type Html, html } from '../../page-html.ts'

export interface Guide {
  slug: string
  title: string
  summary: string
  body: Html
}

export const company = 'Fernhill Instruments'

export const guides: readonly Guide[] = [
  {
    slug: 'hours',
    title: 'Hours and leave',
    summary: 'When we work, how to take time off, and what to do when you are ill.',
    body: html`<p>The workshop is open from seven to six. Put your eight hours where they suit you and your team, as long as you are there between ten and three.</p>
<h2>Time off</h2><p>You have 28 days a year. Ask your team lead two weeks ahead for more than three days in a row; for less, a message the day before is enough.</p>
<h2>When you are ill</h2><p>Stay at home and call the front desk on extension 100 before nine. From the third day on we need a note from your doctor; <a href="../files">send it in here</a>.</p>`,
  },
  {
    slug: 'travel',
    title: 'Travel and expenses',
    summary: 'Trains before planes, receipts before the tenth, and what we pay for meals.',
    body: html`<p>Book trains and rooms yourself and keep the receipts. Flights need a word with your team lead first.</p>
<h2 id="meals">Meals</h2><dl><dt>Breakfast</dt><dd>9.00</dd><dt>Lunch</dt><dd>14.00</dd><dt>Dinner</dt><dd>28.00</dd></dl>
<h2>Getting your money back</h2><p>Fill in the <a href="../files/travel-claim.csv">travel claim</a> and <a href="../files">upload it</a> before the tenth of the next month. Working while you travel counts as work: see <a href="hours">Hours and leave</a>.</p>`,
  },
  {
    slug: 'workshop',
    title: 'Workshop safety',
    summary: 'Glasses on, sleeves up, mercury cupboard locked.',
    body: html`<p>Nobody works at a lathe alone, and nobody works at one without glasses. If a machine sounds wrong, switch it off and tell the next person who comes along; that is never a nuisance.</p>
<h2>Mercury</h2><p>Old barometers come in for repair with mercury in them. Open them under the hood only, and write what you took out into the book on the cupboard.</p>
<h2>If something happens</h2><p>First aid is in the red boxes by both doors. Then call extension 112, then tell us about it <a href="../feedback">here</a>.</p>`,
  },
  {
    slug: 'devices',
    title: 'Computers and passwords',
    summary: 'One laptop each, locked when you leave it, and no passwords on paper.',
    body: html`<p>Your laptop is yours to look after. Lock it when you get up. Updates install themselves at night: leave it plugged in on Thursdays.</p>
<h2>From outside</h2><p>This handbook and the stock list open from anywhere in your browser. You need nothing else: no client to install, no connection to switch on. What the handbook learns about you that way is <a href="/request">written down here</a>.</p>`,
  },
  {
    slug: 'visitors',
    title: 'Visitors',
    summary: 'Badges, the tea round, and what to show of the roof.',
    body: html`<p>Tell the front desk who comes and when; they print the badge. Guests walk with somebody of us everywhere, and to the roof only when the wind is below ten metres a second: look at <a href="../live">the roof station</a> first.</p>
<h2>Tea</h2><p>Every day at half past three. Guests never pay for the cake.</p>`,
  },
]

export function findGuide(slug: string): Guide | undefined {
  return guides.find(guide => guide.slug === slug)
}

/** The words of a guide without its markup. */
function wordsOf(guide: Guide): string {
  return `${guide.title}. ${guide.summary} ${guide.body}`
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
}

/** Whole words around the first hit, split at it; undefined when the guide has none. */
export function excerpt(
  guide: Guide,
  query: string,
): { before: string; hit: string; after: string } | undefined {
  const words = wordsOf(guide)
  const at = words.toLowerCase().indexOf(query.toLowerCase())
  if (at < 0) return undefined
  const end = at + query.length
  return {
    before: words.slice(Math.max(0, at - 70), at).replace(/^\S*/, ''),
    hit: words.slice(at, end),
    after: words.slice(end, end + 90).replace(/\S*$/, ''),
  }
}
