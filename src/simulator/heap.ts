/** A binary heap of numbers by their keys, the least key on top. */
export class Heap {
  readonly #keys: number[] = [];
  readonly #values: number[] = [];

  least(): number | undefined {
    return this.#keys[0];
  }

  push(key: number, value: number): void {
    let index = this.#keys.length;
    this.#keys.push(key);
    this.#values.push(value);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#keys[parent]! <= key) break;
      this.#set(index, this.#keys[parent]!, this.#values[parent]!);
      index = parent;
    }
    this.#set(index, key, value);
  }

  /** Not to be asked of an empty one. */
  pop(): number {
    const top = this.#values[0]!;
    const key = this.#keys.pop()!;
    const value = this.#values.pop()!;
    const size = this.#keys.length;
    if (size === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#keys[child + 1]! < this.#keys[child]!) child++;
      if (this.#keys[child]! >= key) break;
      this.#set(index, this.#keys[child]!, this.#values[child]!);
      index = child;
    }
    this.#set(index, key, value);
    return top;
  }

  #set(index: number, key: number, value: number): void {
    this.#keys[index] = key;
    this.#values[index] = value;
  }
}
