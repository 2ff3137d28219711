import { Heap } from "./heap.ts";
import { Flow, Stretch } from "./stretch.ts";

/**
 * The calls of one function that run or are to come: single ones, stretches whose calls are followed one by one, and
 * flows. Knows when the next one ends, and when the next one of a stretch comes.
 */
export class Traffic {
  /** Calls that run, those of flows as the places that they take. */
  running = 0;
  /** Of those, the ones of flows. */
  places = 0;
  readonly flows: Flow[] = [];
  readonly stretches: Stretch[] = [];
  /** When the next call or flow ends, and when the next call of a stretch comes. */
  endsAt = never;
  comesAt = never;

  /** Ends of single calls. */
  readonly #singles = new Heap();
  #ends: Stretch | Flow | undefined;
  #comes: Stretch | undefined;

  /** Neither calls nor any that are known to come. */
  get over(): boolean {
    return this.running === 0 && this.stretches.length === 0;
  }

  /** Runs a call from `now` on. */
  begin(now: number, runMs: number, stretch: Stretch | undefined): void {
    this.running++;
    let endsAt: number;
    if (stretch === undefined) this.#singles.push((endsAt = now + runMs), 0);
    else endsAt = stretch.begin(now);
    if (endsAt >= this.endsAt) return;
    this.endsAt = endsAt;
    this.#ends = stretch;
  }

  /** What ends at `endsAt`: a flow, a call of a stretch, or a single one. */
  ending(): Stretch | Flow | undefined {
    return this.#ends;
  }

  /** The call that ends at `endsAt` does. */
  end(): void {
    const ended = this.#ends;
    if (ended instanceof Stretch) {
      ended.end();
      this.#leave(ended);
    } else {
      this.#singles.pop();
      this.running--;
    }
    this.#findEnd();
  }

  /** Follows a stretch, and those of its calls that run. */
  follow(stretch: Stretch): void {
    this.stretches.push(stretch);
    this.running += stretch.running;
    this.#findNext();
    this.#findEnd();
  }

  /** Calls that run. */
  runningAt(now: number): number {
    let running = this.running - this.places;
    for (const flow of this.flows) running += flow.runningAt(now);
    return running;
  }

  /** The stretch whose call comes at `comesAt`. */
  due(): Stretch {
    return this.#comes!;
  }

  /** `calls` of the stretch have come. */
  came(stretch: Stretch, calls: number): void {
    stretch.left -= calls;
    stretch.nextAt = stretch.left === 0 ? never : stretch.nextAt + calls * stretch.gapMs;
    this.#findNext();
  }

  /** When the next call of another stretch comes. */
  comesBeside(stretch: Stretch): number {
    let at = never;
    for (const one of this.stretches) if (one !== stretch && one.nextAt < at) at = one.nextAt;
    return at;
  }

  /** Forgets a stretch that has no call left. True: it had none. */
  tidy(stretch: Stretch): boolean {
    if (stretch.left > 0 || stretch.running > 0 || stretch.waiting > 0) return false;
    this.#drop(stretch);
    return true;
  }

  /** The calls of a stretch that are to come go on as a flow. */
  flow(stretch: Stretch, now: number): void {
    const { running, inTime } = stretch;
    const flow = new Flow(now, stretch, inTime ? running : 0);
    this.flows.push(flow);
    this.places += flow.places;
    this.running += inTime ? flow.places - running : flow.places;
    if (inTime) this.#drop(stretch);
    else {
      stretch.flow = flow;
      stretch.left = 0;
      stretch.nextAt = never;
    }
    this.#findNext();
    this.#findEnd();
  }

  /** A flow has ended or is broken. */
  remove(flow: Flow): void {
    this.flows.splice(this.flows.indexOf(flow), 1);
    for (const stretch of this.stretches) if (stretch.flow === flow) stretch.flow = undefined;
    this.running -= flow.places;
    this.places -= flow.places;
    this.#findEnd();
  }

  /** A call of a stretch leaves its place, to the flow that follows it where that has need of it. */
  #leave({ flow, running }: Stretch): void {
    if (flow === undefined || flow.places + running >= flow.width) {
      this.running--;
      return;
    }
    flow.places++;
    this.places++;
  }

  #drop(stretch: Stretch): void {
    this.stretches.splice(this.stretches.indexOf(stretch), 1);
  }

  #findEnd(): void {
    this.endsAt = this.#singles.least() ?? never;
    this.#ends = undefined;
    for (const stretch of this.stretches) {
      const endsAt = stretch.ends.first();
      if (endsAt >= this.endsAt) continue;
      this.endsAt = endsAt;
      this.#ends = stretch;
    }
    for (const flow of this.flows) {
      if (flow.endsAt >= this.endsAt) continue;
      this.endsAt = flow.endsAt;
      this.#ends = flow;
    }
  }

  #findNext(): void {
    this.comesAt = never;
    for (const stretch of this.stretches) {
      if (stretch.nextAt >= this.comesAt) continue;
      this.comesAt = stretch.nextAt;
      this.#comes = stretch;
    }
  }
}

const never = Number.POSITIVE_INFINITY;
