import type { RecordEvent } from "../../ports/records.ts";

/** A committed change; a deletion has no text. */
export interface Change {
  readonly key: string;
  /** The new value as JSON. Each watcher reads a value of its own from it. */
  readonly text: string | undefined;
  readonly revision: number;
}

interface Watcher {
  readonly prefix: string;
  readonly pending: Change[];
  wake: () => void;
}

/** Hands committed changes to those who watch. */
export class ChangeFeed {
  readonly #watchers = new Set<Watcher>();

  publish(change: Change): void {
    for (const watcher of this.#watchers)
      if (change.key.startsWith(watcher.prefix)) {
        watcher.pending.push(change);
        watcher.wake();
      }
  }

  /** What `past` gives at this moment, then each change published from this moment on. Ends with the signal. */
  watch(prefix: string, past: () => Change[], signal: AbortSignal): AsyncIterable<RecordEvent<unknown>> {
    const watcher: Watcher = { prefix, pending: past(), wake: () => {} };
    this.#watchers.add(watcher);
    const stop = (): void => {
      this.#watchers.delete(watcher);
      watcher.wake();
    };
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });

    const watchers = this.#watchers;
    return (async function* () {
      try {
        for (;;) {
          while (watcher.pending.length > 0 && !signal.aborted) yield eventOf(watcher.pending.shift() as Change);
          if (!watchers.has(watcher)) return;
          await new Promise<void>((wake) => (watcher.wake = wake));
        }
      } finally {
        watchers.delete(watcher);
        signal.removeEventListener("abort", stop);
      }
    })();
  }
}

function eventOf({ key, text, revision }: Change): RecordEvent<unknown> {
  return text === undefined
    ? { kind: "delete", key, revision }
    : { kind: "put", key, value: JSON.parse(text), revision };
}
