/** A small writer of SVG: text, lines, bars and points in two sets of colours, for light and for dark pages. */

export interface Point {
  x: number
  y: number
}

export type Anchor = 'start' | 'middle' | 'end'

/** Ours have colours, the others are grey; `quiet` is what stands back. */
export type Colour = 'ours-0' | 'ours-1' | 'ours-2' | 'ours-3' | 'other-0' | 'other-1' | 'other-2'

const palettes: Record<
  'light' | 'dark',
  Record<Colour | 'page' | 'ink' | 'quiet' | 'grid', string>
> = {
  light: {
    page: '#ffffff',
    ink: '#1f2328',
    quiet: '#59636e',
    grid: '#d8dee4',
    'ours-0': '#0b63ce',
    'ours-1': '#c07a00',
    'ours-2': '#177d3b',
    'ours-3': '#8250df',
    'other-0': '#8a939d',
    'other-1': '#b3bac2',
    'other-2': '#6c757f',
  },
  dark: {
    page: '#0d1117',
    ink: '#e6edf3',
    quiet: '#9da7b1',
    grid: '#30363d',
    'ours-0': '#4c9aff',
    'ours-1': '#dba12c',
    'ours-2': '#43b95f',
    'ours-3': '#ab7df8',
    'other-0': '#7a838d',
    'other-1': '#565e67',
    'other-2': '#a4acb5',
  },
}

function rules(palette: Readonly<Record<string, string>>): string {
  return Object.entries(palette)
    .map(([name, colour]) => `.f-${name}{fill:${colour}}.s-${name}{stroke:${colour}}`)
    .join('')
}

const style = `text{font:13px system-ui,sans-serif}.title{font-size:16px;font-weight:600}.small{font-size:12px}.halo{paint-order:stroke;stroke-width:5px;stroke-linejoin:round}
${rules(palettes.light)}
@media (prefers-color-scheme:dark){${rules(palettes.dark)}}`

/** The whole file. `title` is what those hear who do not see it. */
export function svg(
  { width, height, title }: { width: number; height: number; title: string },
  content: readonly string[],
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escaped(title)}</title>
<style>${style}</style>
<rect class="f-page" width="${width}" height="${height}"/>
${content.join('\n')}
</svg>
`
}

export interface TextOptions {
  anchor?: Anchor
  /** `title`, `small`, a colour as `f-quiet`, or `halo s-page` for what stands on lines. */
  classes?: string
}

export function text({ x, y }: Point, content: string, options: TextOptions = {}): string {
  const { anchor = 'start', classes = '' } = options
  const colour = classes.includes('f-') ? '' : ' f-ink'
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}" class="${classes}${colour}">${escaped(content)}</text>`
}

export function bar(at: Point, size: { width: number; height: number }, colour: Colour): string {
  return `<rect x="${round(at.x)}" y="${round(at.y)}" width="${round(Math.max(size.width, 0.5))}" height="${size.height}" class="f-${colour}"/>`
}

export function line(from: Point, to: Point, colour: Colour | 'grid' | 'quiet', width = 1): string {
  return `<line x1="${round(from.x)}" y1="${round(from.y)}" x2="${round(to.x)}" y2="${round(to.y)}" class="s-${colour}" stroke-width="${width}"/>`
}

export function dot({ x, y }: Point, colour: Colour, isFilled: boolean): string {
  const fill = isFilled ? `f-${colour}` : 'f-page'
  return `<circle cx="${round(x)}" cy="${round(y)}" r="5" class="${fill} s-${colour}" stroke-width="2"/>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
