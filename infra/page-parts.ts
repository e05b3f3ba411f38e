/**
 * What Sallyport's own pages are put together from: cards, buttons, forms, tiles, facts.
 * Every part is a function from plain data to escaped markup; a URL that is not http(s) or relative is a
 * programmer's mistake and throws.
 */

import { type Html, html, type Interpolation } from './page-html.ts'

export function card(...body: Interpolation[]): Html {
  return html`<section class="card">${body}</section>`
}

/** The opening words of a wide page: what it is and one sentence about it. */
export function intro(heading: string, lead?: Interpolation): Html {
  return html`<div class="intro"><h1>${heading}</h1>${lead && html`<p>${lead}</p>`}</div>`
}

export type Tone = 'info' | 'warn' | 'bad'

/** A message that assistive technology announces. `code` is the fault code, if there is one. */
export function alert(options: {
  tone: Tone
  heading: string
  body?: Interpolation
  code?: string
}): Html {
  return html`<div class="alert ${options.tone}" role="alert"><strong>${options.heading}</strong>${
    options.body && html`<p>${options.body}</p>`
  }${options.code && html`<code>${options.code}</code>`}</div>`
}

export interface Fact {
  term: string
  value: Interpolation
  /** For ids and codes: set in a fixed-width face. */
  mono?: boolean
}

export function facts(list: readonly Fact[]): Html {
  return html`<dl class="facts">${list.map(
    ({ term, value, mono }) =>
      html`<dt>${term}</dt><dd>${mono ? html`<span class="mono">${value}</span>` : value}</dd>`,
  )}</dl>`
}

/** The moment in UTC, to the second. */
export function time(moment: Date): Html {
  const iso = moment.toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC</time>`
}

export type ButtonKind = 'primary' | 'secondary' | 'quiet'

export function linkButton(label: string, url: string, kind: ButtonKind = 'primary'): Html {
  return html`<a class="button ${kind}" href="${link(url)}">${label}</a>`
}

/** A button that submits the form around it; `name` and `value` tell several apart. */
export function submitButton(
  label: string,
  options: { kind?: ButtonKind; name?: string; value?: string } = {},
): Html {
  const { kind = 'primary', name, value } = options
  return html`<button class="button ${kind}" type="submit"${
    name && html` name="${name}" value="${value ?? ''}"`
  }>${label}</button>`
}

export function buttons(...list: Interpolation[]): Html {
  return html`<div class="buttons">${list}</div>`
}

/** A form that works without script. Hidden inputs carry what has to come back unchanged. */
export function form(options: {
  action: string
  body: Interpolation
  hidden?: Readonly<Record<string, string>>
  method?: 'post' | 'get'
}): Html {
  const { action, body, hidden = {}, method = 'post' } = options
  const inputs = Object.entries(hidden).map(
    ([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`,
  )
  return html`<form class="form" method="${method}" action="${link(action)}">${inputs}${body}</form>`
}

export interface Field {
  label: string
  name: string
  type?: 'text' | 'password'
  value?: string
  autocomplete?: string
  inputmode?: 'numeric' | 'email'
  hint?: string
  isInvalid?: boolean
  autofocus?: boolean
}

export function field(options: Field): Html {
  const { name, label, type = 'text', hint } = options
  const id = `field-${name}`
  return html`<div class="field"><label for="${id}">${label}</label><input id="${id}" name="${name}" type="${type}" maxlength="256" required autocapitalize="none" autocorrect="off" spellcheck="false"${[
    options.value !== undefined && html` value="${options.value}"`,
    options.autocomplete && html` autocomplete="${options.autocomplete}"`,
    options.inputmode && html` inputmode="${options.inputmode}"`,
    hint && html` aria-describedby="${id}-hint"`,
    options.isInvalid && html` aria-invalid="true"`,
    options.autofocus && html` autofocus`,
  ]}>${hint && html`<span class="hint" id="${id}-hint">${hint}</span>`}</div>`
}

export interface ApplicationTile {
  name: string
  url: string
  description?: string | undefined
}

/** The user's applications: name, host, and a letter in a colour that stays with the name. */
export function applicationTiles(list: readonly ApplicationTile[]): Html {
  return html`<ul class="tiles">${list.map(({ name, url, description }) => {
    const { host } = new URL(link(url))
    return html`<li><a class="tile" href="${url}"><span class="letter hue-${hueOf(name)}" aria-hidden="true">${
      [...name.trim()][0]?.toUpperCase() ?? '?'
    }</span><span><b>${name}</b>${description && html`<small>${description}</small>`}<small class="mono">${breakable(host)}</small></span></a></li>`
  })}</ul>`
}

/** In the place of a list that has nothing to show yet. */
export function emptyState(heading: string, body: Interpolation): Html {
  return html`<div class="empty"><h2>${heading}</h2><p>${body}</p></div>`
}

const hops = ['you', 'gateway', 'connector', 'application'] as const
export type Hop = (typeof hops)[number]

const hopLabels: Record<Hop, string> = {
  you: 'You',
  gateway: 'Gateway',
  connector: 'Connector',
  application: 'Application',
}

/** How far a request came on its way: the hop where it ended is marked, names of hosts are never shown. */
export function route(failedAt: Hop): Html {
  const end = hops.indexOf(failedAt)
  return html`<ol class="route" aria-label="How far the request came">${hops.map((hop, index) => {
    if (index < end)
      return html`<li class="passed">${hopLabels[hop]}<span class="unseen">: passed</span></li>`
    if (index === end)
      return html`<li class="failed">${hopLabels[hop]}<span class="unseen">: the request ended here</span></li>`
    return html`<li class="beyond">${hopLabels[hop]}<span class="unseen">: not reached</span></li>`
  })}</ol>`
}

function hueOf(name: string): number {
  let sum = 0
  for (const character of name) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 9_973
  return sum % 6
}

/** A host name wraps after its dots, not within a label. */
function breakable(host: string): Html {
  return html`${host.split('.').map((label, index) => html`${index > 0 && html`.<wbr>`}${label}`)}`
}

function link(url: string): string {
  if (/^(?:https?:\/\/|\/(?!\/)|\?|#|\.\/)/i.test(url)) return url
  throw new TypeError(`a page may only link to http(s) and relative URLs, not to "${url}"`)
}
