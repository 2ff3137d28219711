/** Numbers in a row, taken from both ends; what is asked of an empty one is `Infinity`. */
export class Ring {
  #values = empty;
  #head = 0;
  length = 0;

  first(): number {
    return this.length === 0 ? Number.POSITIVE_INFINITY : this.#values[this.#head]!;
  }

  last(): number {
    return this.#values[(this.#head + this.length - 1) & (this.#values.length - 1)]!;
  }

  push(value: number): void {
    if (this.length === this.#values.length) this.#grow(Math.max(4, 2 * this.length));
    this.#values[(this.#head + this.length++) & (this.#values.length - 1)] = value;
  }

  /** Not to be asked of an empty one; `pop` and `last` neither. */
  shift(): number {
    const value = this.#values[this.#head]!;
    this.#head = (this.#head + 1) & (this.#values.length - 1);
    this.length--;
    return value;
  }

  pop(): void {
    this.length--;
  }

  /** Room for so many. */
  reserve(count: number): void {
    if (count <= this.#values.length) return;
    let size = 8;
    while (size < count) size *= 2;
    this.#grow(size);
  }

  #grow(size: number): void {
    const { length } = this.#values;
    const values = new Float64Array(size);
    for (let index = 0; index < length; index++) values[index] = this.#values[(this.#head + index) & (length - 1)]!;
    this.#values = values;
    this.#head = 0;
  }
}

/** Most functions have no line, and many no instances. */
const empty = new Float64Array(0);
