/** What a chain keeps in its items. A thing is in one chain at a time. */
export interface Chained<Item> {
  chain: object | undefined;
  nextInChain: Item | undefined;
  previousInChain: Item | undefined;
}

/**
 * Calls that come and go by the ten thousand, in the order of their coming. Not a Set: a table that V8 has outgrown points to
 * the one that took its place, so once a dead one is old, all that stood in those after it is kept, copied and kept again until
 * the next full collection.
 */
export class Chain<Item extends Chained<Item>> implements Iterable<Item> {
  #size = 0;
  #first: Item | undefined = undefined;
  #last: Item | undefined = undefined;

  get size(): number {
    return this.#size;
  }

  get first(): Item | undefined {
    return this.#first;
  }

  /** Behind all others. The item is in no chain. */
  add(item: Item): void {
    item.chain = this;
    item.previousInChain = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.nextInChain = item;
    this.#last = item;
    this.#size++;
  }

  /** False where it was not in this chain. */
  delete(item: Item): boolean {
    if (item.chain !== this) return false;
    const { nextInChain: next, previousInChain: previous } = item;
    if (next === undefined) this.#last = previous;
    else next.previousInChain = previous;
    if (previous === undefined) this.#first = next;
    else previous.nextInChain = next;
    item.chain = item.nextInChain = item.previousInChain = undefined;
    this.#size--;
    return true;
  }

  /** Those that are in it now; without the ones that are taken out on the way. */
  *[Symbol.iterator](): Iterator<Item> {
    const items: Item[] = [];
    for (let item = this.#first; item !== undefined; item = item.nextInChain) items.push(item);
    for (const item of items) if (item.chain === this) yield item;
  }
}
