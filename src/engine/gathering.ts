import type { VirgaError } from "../core/errors.ts";
import type { Invocation } from "../core/model.ts";
import type { GatheredAnswer, InvocationSink } from "./engine.ts";

/** Takes a whole answer into memory. `limits.responseBytes` bounds it. */
export class Gathering implements InvocationSink {
  readonly answer: Promise<GatheredAnswer>;
  readonly #resolve: (answer: GatheredAnswer) => void;
  readonly #reject: (error: VirgaError) => void;
  readonly #chunks: Uint8Array[] = [];
  #status: number | undefined;
  #headers: readonly string[] = [];

  constructor() {
    const { promise, resolve, reject } = Promise.withResolvers<GatheredAnswer>();
    this.answer = promise;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  head(status: number, headers: readonly string[]): void {
    this.#status = status;
    this.#headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    this.#chunks.push(chunk);
    return true;
  }

  end(invocation: Invocation): void {
    this.#resolve({ invocation, status: this.#status, headers: this.#headers, body: this.#body() });
  }

  fail(error: VirgaError, invocation: Invocation | undefined): void {
    if (invocation === undefined) this.#reject(error);
    else this.#resolve({ invocation, headers: this.#headers, body: this.#body(), error });
  }

  #body(): Uint8Array {
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
  }
}
