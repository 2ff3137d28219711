import type { FramedCall } from "./call.ts";
import { streamLimit } from "./protocol.ts";

/**
 * The open calls of a link by their streams. Each has the place of its number in a table of a power of two; a number whose
 * place is taken is passed over. Not a Map: see `engine/chain.ts`.
 */
export class Streams implements Iterable<FramedCall> {
  #places: (FramedCall | undefined)[] = emptyPlaces(fewest);
  #turn = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The next odd number for a call. */
  next(): number {
    const mask = this.#places.length - 1;
    while (this.#places[this.#turn & mask] !== undefined) this.#turn = after(this.#turn);
    const stream = 2 * this.#turn + 1;
    this.#turn = after(this.#turn);
    return stream;
  }

  /** One whose stream is of `next`. */
  add(call: FramedCall): void {
    this.#places[this.#placeOf(call.stream)] = call;
    if (++this.#size * 2 > this.#places.length) this.#grow();
  }

  get(stream: number): FramedCall | undefined {
    const call = this.#places[this.#placeOf(stream)];
    return call?.stream === stream ? call : undefined;
  }

  delete(call: FramedCall): void {
    const place = this.#placeOf(call.stream);
    if (this.#places[place] !== call) return;
    this.#places[place] = undefined;
    this.#size--;
  }

  /** Those that are open now. */
  *[Symbol.iterator](): Iterator<FramedCall> {
    for (const call of this.#places.slice()) if (call !== undefined) yield call;
  }

  #placeOf(stream: number): number {
    return (stream >>> 1) & (this.#places.length - 1);
  }

  #grow(): void {
    const before = this.#places;
    this.#places = emptyPlaces(before.length * 2);
    for (const call of before) if (call !== undefined) this.#places[this.#placeOf(call.stream)] = call;
  }
}

const fewest = 16;

function emptyPlaces(count: number): (FramedCall | undefined)[] {
  return Array.from({ length: count }, () => undefined);
}

function after(turn: number): number {
  return turn + 1 < streamLimit / 2 ? turn + 1 : 0;
}
