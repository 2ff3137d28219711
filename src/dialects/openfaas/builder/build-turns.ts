import { cancelled } from "./build-program.ts";

/** Who may build now: so many at a time, and of one image one after another, in the order in which they came. */
export class BuildTurns {
  readonly #most: number;
  readonly #running = new Set<string>();
  readonly #waiting: { readonly image: string; readonly go: () => void }[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Resolves to what gives the turn back; `onWait` is told why it takes time. Rejects with `cancelled`. */
  async take(image: string, signal: AbortSignal, onWait: (reason: string) => void): Promise<() => void> {
    if (signal.aborted) throw cancelled();
    if (!this.#isFree(image) || this.#waiting.some((other) => other.image === image)) {
      onWait(
        this.#running.has(image)
          ? `waiting: ${image} is being built already`
          : `waiting: ${this.#running.size} other images are being built`,
      );
      await new Promise<void>((resolve, reject) => {
        const entry = { image, go: resolve };
        this.#waiting.push(entry);
        signal.addEventListener(
          "abort",
          () => {
            const index = this.#waiting.indexOf(entry);
            if (index < 0) return;
            this.#waiting.splice(index, 1);
            reject(cancelled());
          },
          { once: true },
        );
      });
    } else this.#running.add(image);
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#running.delete(image);
      this.#next();
    };
  }

  #isFree(image: string): boolean {
    return this.#running.size < this.#most && !this.#running.has(image);
  }

  #next(): void {
    for (;;) {
      const index = this.#waiting.findIndex(({ image }) => this.#isFree(image));
      if (index < 0) return;
      const [entry] = this.#waiting.splice(index, 1);
      this.#running.add(entry!.image);
      entry!.go();
    }
  }
}
