/**
 * Calls that are open, each in a seat of its own, which a later one takes again. Not a Map or a Set: a table that V8 has outgrown
 * points to the one that took its place, so once a dead one is old, what stood in those after it is kept until the next full
 * collection, and each call's bytes with it.
 */
export class OpenCalls {
  #seats = [];
  #free = [];

  get size() {
    return this.#seats.length - this.#free.length;
  }

  /** The one that is open; undefined where that is not exactly one. */
  get only() {
    return this.size === 1 ? this.#seats.find((call) => call !== undefined) : undefined;
  }

  /** Gives its seat. */
  add(call) {
    const seat = this.#free.pop() ?? this.#seats.length;
    this.#seats[seat] = call;
    return seat;
  }

  get(seat) {
    return this.#seats[seat];
  }

  remove(seat) {
    this.#seats[seat] = undefined;
    this.#free.push(seat);
  }

  /** Takes all out, and gives them. */
  clear() {
    const open = this.#seats.filter((call) => call !== undefined);
    this.#seats = [];
    this.#free = [];
    return open;
  }
}
