/**
 * A map for what comes and goes with every request, in order of arrival. In a plain Map, V8 links each table that was
 * outgrown to the next one and never empties it. Once one of them is in the old generation, all later ones are kept
 * with everything that was in them: every request survives until the whole heap is marked, which is rare in a process
 * that knows 100,000 applications. Here a new map takes over before that comes to pass, and what a table holds are
 * boxes, which are emptied when their content leaves.
 */

/** Departures after which a new map takes over; more when it holds more, for it is a copy. */
const departures = 512

interface Box<Value> {
  value: Value | undefined
}

export class PassingMap<Value extends object> {
  #boxes = new Map<string, Box<Value>>()
  #departed = 0

  get size(): number {
    return this.#boxes.size
  }

  get(key: string): Value | undefined {
    return this.#boxes.get(key)?.value
  }

  /** What was there under this key leaves; the new value takes its place in the order. */
  set(key: string, value: Value): void {
    const box = this.#boxes.get(key)
    if (box) box.value = value
    else this.#boxes.set(key, { value })
  }

  delete(key: string): boolean {
    const box = this.#boxes.get(key)
    if (!box) return false
    box.value = undefined
    this.#boxes.delete(key)
    if (++this.#departed >= Math.max(departures, this.#boxes.size)) this.#renew()
    return true
  }

  #renew(): void {
    this.#departed = 0
    this.#boxes = new Map(this.#boxes)
  }

  *values(): Iterable<Value> {
    for (const { value } of this.#boxes.values()) if (value) yield value
  }

  *[Symbol.iterator](): Iterator<[string, Value]> {
    for (const [key, { value }] of this.#boxes) if (value) yield [key, value]
  }
}
