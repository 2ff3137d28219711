import type { Clock, Timer } from "../ports/clock.ts";

/** Something that ends at a time, unless it is taken out before. */
export interface Deadline {
  expired(): void;
  /** The wheel's own: the tick it is due at (-1: in no wheel), and its neighbours in the slot. */
  dueTick: number;
  nextDue: Deadline | undefined;
  previousDue: Deadline | undefined;
}

/**
 * A hashed timing wheel (Varghese and Lauck, 1987): putting a call in and taking it out are a few assignments, where
 * a timer of its own costs an object and a closure. Deadlines fire up to one tick late, never early.
 * It wakes only for slots that hold something.
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #slots: (Deadline | undefined)[] = Array.from({ length: slotCount }, () => undefined);
  #size = 0;
  /** The last tick that was looked at. */
  #seenTick: number;
  #wakeTick = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#seenTick = Math.floor(clock.monotonic() / tickMs);
  }

  /** Puts it in, or moves it. `now` is `clock.monotonic()`, which callers have at hand. */
  set(entry: Deadline, delayMs: number, now: number): void {
    if (entry.dueTick >= 0) this.#unlink(entry);
    else this.#size++;
    const tick = Math.max(this.#seenTick + 1, Math.ceil((now + delayMs) / tickMs));
    entry.dueTick = tick;
    const slot = tick & slotMask;
    const head = this.#slots[slot];
    entry.nextDue = head;
    entry.previousDue = undefined;
    if (head !== undefined) head.previousDue = entry;
    this.#slots[slot] = entry;
    if (tick < this.#wakeTick) this.#wakeAt(Math.min(tick, this.#seenTick + slotCount), now);
  }

  clear(entry: Deadline): void {
    if (entry.dueTick < 0) return;
    this.#unlink(entry);
    entry.dueTick = -1;
    this.#size--;
  }

  get size(): number {
    return this.#size;
  }

  #wakeAt(tick: number, now: number): void {
    if (tick === this.#wakeTick) return;
    this.#timer?.cancel();
    this.#wakeTick = tick;
    this.#timer = this.#clock.after(Math.max(0, tick * tickMs - now), () => this.#turn());
  }

  #turn(): void {
    const now = this.#clock.monotonic();
    const nowTick = Math.floor(now / tickMs);
    this.#wakeTick = Number.POSITIVE_INFINITY;
    const first = Math.max(this.#seenTick + 1, nowTick - slotCount + 1);
    this.#seenTick = Math.max(this.#seenTick, nowTick);
    for (let tick = first; tick <= nowTick; tick++) this.#fire(tick & slotMask, nowTick);
    if (this.#size > 0) this.#wakeAt(this.#nextTick(), now);
  }

  #fire(slot: number, nowTick: number): void {
    let entry = this.#slots[slot];
    while (entry !== undefined) {
      if (entry.dueTick <= nowTick) {
        this.clear(entry);
        entry.expired();
        // What expired may have put in or taken out others of this slot.
        entry = this.#slots[slot];
      } else {
        entry = entry.nextDue;
      }
    }
  }

  /** The next tick whose slot holds something: its entries may be due in a later round. */
  #nextTick(): number {
    for (let tick = this.#seenTick + 1; tick < this.#seenTick + slotCount; tick++) {
      if (this.#slots[tick & slotMask] !== undefined) return tick;
    }
    return this.#seenTick + slotCount;
  }

  #unlink(entry: Deadline): void {
    const { nextDue, previousDue } = entry;
    if (nextDue !== undefined) nextDue.previousDue = previousDue;
    if (previousDue !== undefined) previousDue.nextDue = nextDue;
    else this.#slots[entry.dueTick & slotMask] = nextDue;
    entry.nextDue = undefined;
    entry.previousDue = undefined;
  }
}

/** Precision of a deadline. */
const tickMs = 10;
/** 10.24 s in one turn of the wheel; longer ones stay in for several. */
const slotCount = 1024;
const slotMask = slotCount - 1;
