import type { RecordEvent } from "../../ports/records.ts";

interface Watcher {
  readonly prefix: string;
  readonly pending: RecordEvent<unknown>[];
  wake: () => void;
}

/** Hands committed changes to those who watch. */
export class ChangeFeed {
  readonly #watchers = new Set<Watcher>();

  publish(event: RecordEvent<unknown>): void {
    for (const watcher of this.#watchers)
      if (event.key.startsWith(watcher.prefix)) {
        watcher.pending.push(event);
        watcher.wake();
      }
  }

  /** What `past` gives at this moment, then each change published from this moment on. Ends with the signal. */
  watch(prefix: string, past: () => RecordEvent<unknown>[], signal: AbortSignal): AsyncIterable<RecordEvent<unknown>> {
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
          while (watcher.pending.length > 0 && !signal.aborted) yield watcher.pending.shift() as RecordEvent<unknown>;
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
