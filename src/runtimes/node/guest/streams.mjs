/**
 * Open calls by their streams: each has the place of its number in a table of a power of two, or stands in a Map where that is
 * taken. Not a Map for all: a table that V8 has outgrown points to the one that took its place, and once a dead one is old, all
 * calls of those after it are kept with it.
 */
export class Streams {
  size = 0;
  #places = Array.from({ length: 16 });
  #others = new Map();

  get(stream) {
    const call = this.#places[this.#placeOf(stream)];
    return call?.stream === stream ? call : this.#others.get(stream);
  }

  add(call) {
    if (++this.size * 2 > this.#places.length) this.#grow();
    this.#put(call);
  }

  delete(call) {
    const place = this.#placeOf(call.stream);
    if (this.#places[place] === call) this.#places[place] = undefined;
    else this.#others.delete(call.stream);
    this.size--;
  }

  values() {
    return [...this.#places.filter((call) => call !== undefined), ...this.#others.values()];
  }

  #placeOf(stream) {
    return (stream >>> 1) & (this.#places.length - 1);
  }

  #put(call) {
    const place = this.#placeOf(call.stream);
    if (this.#places[place] === undefined) this.#places[place] = call;
    else this.#others.set(call.stream, call);
  }

  #grow() {
    const before = this.values();
    this.#places = Array.from({ length: this.#places.length * 2 });
    this.#others.clear();
    for (const call of before) this.#put(call);
  }
}
