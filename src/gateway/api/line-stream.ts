import type { Clock, Timer } from "../../ports/clock.ts";

/**
 * An answer of JSON lines (`application/x-ndjson`) that goes on for a while. An empty line every 15 s says that it still
 * does, before proxies lose patience. A reader that does not keep up loses lines and is told how many, rather than
 * filling the memory; `last` always arrives.
 */
export class LineStream {
  readonly response: Response;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined = undefined;
  readonly #clock: Clock;
  readonly #lost: (count: number) => unknown;
  readonly #onClose: () => void;
  #dropped = 0;
  #heartbeat: Timer | undefined = undefined;
  #open = true;

  /** `lost` makes the line that tells of lines dropped; `onClose` is called once, whoever ends it. */
  constructor(clock: Clock, lost: (count: number) => unknown, onClose: () => void) {
    this.#clock = clock;
    this.#lost = lost;
    this.#onClose = onClose;
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#tellLost(),
        cancel: () => this.#closed(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: mostBytes }),
    );
    this.response = new Response(stream, {
      headers: { "content-type": "application/x-ndjson", "cache-control": "no-store", "x-accel-buffering": "no" },
    });
    this.#beat();
  }

  push(value: unknown): void {
    if (!this.#open || this.#controller === undefined) return;
    if ((this.#controller.desiredSize ?? 0) <= 0) {
      this.#dropped++;
      return;
    }
    this.#tellLost();
    this.#write(`${JSON.stringify(value)}\n`);
  }

  /** The last line; the answer is complete. */
  last(value?: unknown): void {
    if (!this.#open || this.#controller === undefined) return;
    this.#tellLost();
    if (value !== undefined) this.#write(`${JSON.stringify(value)}\n`);
    this.#controller.close();
    this.#closed();
  }

  #tellLost(): void {
    if (this.#dropped === 0 || !this.#open) return;
    const count = this.#dropped;
    this.#dropped = 0;
    this.#write(`${JSON.stringify(this.#lost(count))}\n`);
  }

  #write(text: string): void {
    this.#controller?.enqueue(encoder.encode(text));
  }

  #beat(): void {
    this.#heartbeat = this.#clock.after(heartbeatMs, () => {
      if ((this.#controller?.desiredSize ?? 0) > 0) this.#write("\n");
      this.#beat();
    });
  }

  #closed(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#heartbeat?.cancel();
    this.#onClose();
  }
}

const encoder = new TextEncoder();
const heartbeatMs = 15_000;
/** A second of a fast build's output. */
const mostBytes = 4 * 2 ** 20;
