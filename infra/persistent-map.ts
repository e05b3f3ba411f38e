/**
 * An immutable map from strings that is cheap to change: `with` gives a new map that shares with the old one all but
 * the few hundred entries around each change, so one change among 100,000 costs microseconds where a copy of the whole
 * would stop the event loop for tens of milliseconds. It is a tree over a hash of the key whose leaves are plain maps;
 * below one leaf's size it is one plain map, and nothing is hashed.
 */

type Leaf<Value> = Map<string, Value>
type Branch<Value> = (Node<Value> | undefined)[]
type Node<Value> = Leaf<Value> | Branch<Value>

/** Entries of a leaf before it becomes a branch. */
const maxLeafSize = 512

const bitsPerLevel = 4
const fanOut = 1 << bitsPerLevel
const hashBits = 32

/** Key and new value; an undefined value removes the key. */
export type Edit<Value> = readonly [key: string, value: Value | undefined]

export class PersistentMap<Value> implements ReadonlyMap<string, Value> {
  readonly size: number
  readonly #root: Node<Value>

  constructor(root: Node<Value> = new Map(), size = 0) {
    this.#root = root
    this.size = size
  }

  /** A map with these edits made, the last one of a key counting. This one stays as it is. */
  with(edits: Iterable<Edit<Value>>): PersistentMap<Value> {
    const editing = new Editing<Value>()
    let root = this.#root
    for (const edit of edits) root = editing.apply(root, edit)
    return new PersistentMap(root, this.size + editing.grownBy)
  }

  get(key: string): Value | undefined {
    let node: Node<Value> | undefined = this.#root
    if (node instanceof Map) return node.get(key)
    const hash = hashOf(key)
    for (let shift = 0; Array.isArray(node); shift += bitsPerLevel) node = node[slotOf(hash, shift)]
    return node?.get(key)
  }

  /** No value is ever undefined. */
  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  *entries(): MapIterator<[string, Value]> {
    for (const leaf of leavesOf(this.#root)) yield* leaf
  }

  *keys(): MapIterator<string> {
    for (const leaf of leavesOf(this.#root)) yield* leaf.keys()
  }

  *values(): MapIterator<Value> {
    for (const leaf of leavesOf(this.#root)) yield* leaf.values()
  }

  [Symbol.iterator](): MapIterator<[string, Value]> {
    return this.entries()
  }

  forEach(callback: (value: Value, key: string, map: ReadonlyMap<string, Value>) => void): void {
    for (const leaf of leavesOf(this.#root)) {
      for (const [key, value] of leaf) callback(value, key, this)
    }
  }
}

/** One call of `with`: copies each node on the way to an entry the first time that it is touched. */
class Editing<Value> {
  grownBy = 0
  readonly #own = new Set<Node<Value>>()

  apply(root: Node<Value>, [key, value]: Edit<Value>): Node<Value> {
    const hash = root instanceof Map ? 0 : hashOf(key)
    return this.#edit(root, { key, value, hash, shift: 0 })
  }

  #edit(node: Node<Value>, place: Place<Value>): Node<Value> {
    if (node instanceof Map) return this.#editLeaf(node, place)
    const branch = this.#owned(node, () => [...node])
    const slot = slotOf(place.hash, place.shift)
    const deeper = { ...place, shift: place.shift + bitsPerLevel }
    branch[slot] = this.#edit(branch[slot] ?? this.#new(new Map()), deeper)
    return branch
  }

  #editLeaf(node: Leaf<Value>, { key, value, shift }: Place<Value>): Node<Value> {
    const leaf = this.#owned(node, () => new Map(node))
    const before = leaf.size
    if (value === undefined) leaf.delete(key)
    else leaf.set(key, value)
    this.grownBy += leaf.size - before
    return leaf.size > maxLeafSize && shift < hashBits ? this.#split(leaf, shift) : leaf
  }

  #split(leaf: Leaf<Value>, shift: number): Node<Value> {
    const branch: Leaf<Value>[] = Array.from({ length: fanOut }, () => this.#new(new Map()))
    for (const [key, value] of leaf) branch[slotOf(hashOf(key), shift)]?.set(key, value)
    return this.#new(branch)
  }

  #owned<Kind extends Node<Value>>(node: Kind, copy: () => Kind): Kind {
    return this.#own.has(node) ? node : this.#new(copy())
  }

  #new<Kind extends Node<Value>>(node: Kind): Kind {
    this.#own.add(node)
    return node
  }
}

interface Place<Value> {
  readonly key: string
  readonly value: Value | undefined
  readonly hash: number
  readonly shift: number
}

function* leavesOf<Value>(node: Node<Value>): Iterable<Leaf<Value>> {
  if (node instanceof Map) yield node
  else for (const child of node) if (child) yield* leavesOf(child)
}

function slotOf(hash: number, shift: number): number {
  return (hash >>> shift) & (fanOut - 1)
}

/** FNV-1a, and its high bits mixed into the low ones, which choose first. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  }
  return hash ^ (hash >>> 15)
}
