/** Two kinds of chart, one row for each target: bars that may be stacked, and ranges on a logarithmic scale. */

import { bar, type Colour, dot, line, svg, text } from './svg.ts'

export interface Row {
  readonly label: string
  readonly isOurs: boolean
  /** Stands behind the marks. */
  readonly text: string
}

export interface BarRow extends Row {
  /** From left to right; the colours of a row are its own. */
  readonly parts: readonly { readonly value: number; readonly colour: Colour }[]
}

export interface RangeRow extends Row {
  readonly low: number
  readonly high: number
}

export interface Panel {
  readonly heading: string
  /** What the scale counts. */
  readonly unit: string
  readonly legend?: readonly { readonly label: string; readonly colour: Colour }[]
}

export interface BarPanel extends Panel {
  readonly rows: readonly BarRow[]
  /** A line across all rows. */
  readonly mark?: number
}

export interface RangePanel extends Panel {
  readonly rows: readonly RangeRow[]
}

const width = 900
const left = 130
const right = 560
const rowHeight = 26
const barHeight = 16
const headingHeight = 32
const legendHeight = 24
const footHeight = 44
const titleHeight = 40

export function barChart(title: string, panels: readonly BarPanel[]): string {
  return stack(title, panels, (panel, top) => {
    const most = Math.max(...panel.rows.map(total), panel.mark ?? 0)
    const ticks = linearTicks(most)
    const scale = (value: number) => left + (value / (ticks.at(-1) ?? 1)) * (right - left)
    const bars = panel.rows.flatMap((row, index) => barsOf(row, top + index * rowHeight, scale))
    return [...frame(panel, { top, ticks, scale }), ...markOf(panel, top, scale), ...bars]
  })
}

function total({ parts }: BarRow): number {
  return parts.reduce((sum, { value }) => sum + value, 0)
}

type Scale = (value: number) => number

function barsOf(row: BarRow, top: number, scale: Scale): string[] {
  let sum = 0
  const parts = row.parts.map(({ value, colour }) => {
    const x = scale(sum)
    sum += value
    return bar({ x, y: top + 5 }, { width: scale(sum) - x, height: barHeight }, colour)
  })
  return [...parts, ...labels(row, top, scale(sum))]
}

function markOf({ mark, rows }: BarPanel, top: number, scale: Scale): string[] {
  if (mark === undefined) return []
  const x = scale(mark)
  return [line({ x, y: top }, { x, y: top + rows.length * rowHeight }, 'quiet', 1.5)]
}

export function rangeChart(title: string, panels: readonly RangePanel[]): string {
  return stack(title, panels, (panel, top) => {
    const least = Math.min(...panel.rows.map(({ low }) => low))
    const most = Math.max(...panel.rows.map(({ high }) => high))
    const ticks = decades(least, most)
    const [first = 1, last = 10] = [ticks[0], ticks.at(-1)]
    const share = (value: number) => Math.log(value / first) / Math.log(last / first)
    const scale = (value: number) => left + share(value) * (right - left)
    const ranges = panel.rows.flatMap((row, index) => rangeOf(row, top + index * rowHeight, scale))
    return [...frame(panel, { top, ticks, scale }), ...ranges]
  })
}

function rangeOf(row: RangeRow, top: number, scale: Scale): string[] {
  const colour = row.isOurs ? 'ours-0' : 'other-0'
  const y = top + rowHeight / 2
  const [low, high] = [
    { x: scale(row.low), y },
    { x: scale(row.high), y },
  ]
  const marks = [line(low, high, colour, 3), dot(low, colour, true), dot(high, colour, false)]
  return [...marks, ...labels(row, top, high.x + 6)]
}

function labels({ label, isOurs, text: behind }: Row, top: number, end: number): string[] {
  const y = top + rowHeight / 2 + 4.5
  const colour = isOurs ? 'f-ink' : 'f-quiet'
  return [
    text({ x: left - 10, y }, label, { anchor: 'end', classes: colour }),
    text({ x: end + 8, y }, behind, { classes: `halo s-page ${colour}` }),
  ]
}

/** Panels below each other; `draw` is told where the rows of each begin. */
function stack<Each extends Panel & { rows: readonly Row[] }>(
  title: string,
  panels: readonly Each[],
  draw: (panel: Each, top: number) => string[],
): string {
  const shown = panels.filter(({ rows }) => rows.length > 0)
  let top = titleHeight
  const content = shown.flatMap(panel => {
    const [headTop, rowsTop] = [top, top + headHeight(panel)]
    top = rowsTop + panel.rows.length * rowHeight + footHeight
    return [...head(panel, headTop), ...draw(panel, rowsTop)]
  })
  const heading = text({ x: 16, y: 28 }, title, { classes: 'title' })
  return svg({ width, height: top, title }, [heading, ...content])
}

function head({ heading, legend = [] }: Panel, top: number): string[] {
  return [text({ x: 16, y: top + 20 }, heading), ...legendOf(legend, top + 44)]
}

function headHeight({ legend = [] }: Panel): number {
  return headingHeight + (legend.length > 0 ? legendHeight : 0)
}

interface Frame {
  top: number
  ticks: readonly number[]
  scale: Scale
}

/** Grid and scale. */
function frame(
  { unit, rows }: Panel & { rows: readonly Row[] },
  { top, ticks, scale }: Frame,
): string[] {
  const last = top + rows.length * rowHeight
  const grid = ticks.flatMap(value => [
    line({ x: scale(value), y: top }, { x: scale(value), y: last + 4 }, 'grid'),
    text({ x: scale(value), y: last + 20 }, value.toLocaleString('en'), {
      anchor: 'middle',
      classes: 'small f-quiet',
    }),
  ])
  const unitText = text({ x: right + 40, y: last + 20 }, unit, { classes: 'small f-quiet' })
  return [...grid, unitText]
}

function legendOf(legend: NonNullable<Panel['legend']>, y: number): string[] {
  const widths = legend.map(({ label }) => label.length * 7 + 40)
  return legend.flatMap(({ label, colour }, index) => {
    const x = left + widths.slice(0, index).reduce((sum, each) => sum + each, 0)
    const swatch = bar({ x, y: y - 10 }, { width: 12, height: 12 }, colour)
    return [swatch, text({ x: x + 18, y }, label, { classes: 'small f-quiet' })]
  })
}

/** From zero to at least `most`, four to eight of them, at 1, 2 or 5 times a power of ten. */
function linearTicks(most: number): number[] {
  const magnitude = 10 ** Math.floor(Math.log10(most || 1))
  const step = [0.2, 0.5, 1, 2].map(part => part * magnitude).find(each => most / each <= 7) ?? 1
  const count = Math.ceil(most / step)
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(6)))
}

/** Powers of ten that enclose both. */
function decades(least: number, most: number): number[] {
  const first = Math.floor(Math.log10(least))
  const last = Math.max(Math.ceil(Math.log10(most)), first + 1)
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number((10 ** (first + index)).toPrecision(1)),
  )
}
