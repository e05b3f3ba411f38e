/** Forms in a page's markup, as far as our own pages and the sample applications write them: quoted attributes. */

export interface Control {
  name: string
  value: string
  type: string
  isChecked: boolean
}

export interface Form {
  action: string
  method: string
  controls: Control[]
}

/** The first form, or the first whose action contains `actionPart`. */
export function findForm(markup: string, actionPart = ''): Form | undefined {
  return [...markup.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)]
    .map(([, attributes = '', content = '']) => ({
      action: attribute(attributes, 'action') ?? '',
      method: (attribute(attributes, 'method') ?? 'get').toLowerCase(),
      controls: controlsIn(content),
    }))
    .find(form => form.action.includes(actionPart))
}

/** What a browser would send of the form as it stands, without a button. */
export function formEntries(form: Form): [string, string][] {
  return form.controls
    .filter(({ type, isChecked }) => isChecked || (type !== 'checkbox' && type !== 'radio'))
    .filter(({ type }) => !['submit', 'button', 'file'].includes(type))
    .map(({ name, value }) => [name, value])
}

function controlsIn(content: string): Control[] {
  const inputs = [...content.matchAll(/<input\b([^>]*)>/gi)].map(([, attributes = '']) => ({
    name: attribute(attributes, 'name') ?? '',
    value: attribute(attributes, 'value') ?? '',
    type: (attribute(attributes, 'type') ?? 'text').toLowerCase(),
    isChecked: /\schecked\b/i.test(attributes),
  }))
  const areas = [...content.matchAll(/<textarea\b([^>]*)>([\s\S]*?)<\/textarea>/gi)].map(
    ([, attributes = '', text = '']) => ({
      name: attribute(attributes, 'name') ?? '',
      value: plain(text),
      type: 'textarea',
      isChecked: false,
    }),
  )
  return [...inputs, ...areas].filter(control => control.name !== '')
}

function attribute(attributes: string, name: string): string | undefined {
  const found = new RegExp(`(?:^|\\s)${name}="([^"]*)"`, 'i').exec(attributes)?.[1]
  return found === undefined ? undefined : plain(found)
}

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"' }

function plain(text: string): string {
  return text.replace(/&(?:#(\d+)|(\w+));/g, (whole, number?: string, name?: string) =>
    number ? String.fromCodePoint(Number(number)) : (entities[name ?? ''] ?? whole),
  )
}
