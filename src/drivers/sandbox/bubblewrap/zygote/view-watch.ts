import { statSync } from "node:fs";
import type { ViewEntry } from "../system-view.ts";

/**
 * Whether at the places that a view shows stand other files than when it was mounted. A mount keeps showing the old ones:
 * a `resolv.conf` that was written anew is another file.
 */
export class ViewWatch {
  readonly #paths: readonly string[];
  #seen = "";
  #lookedAt = 0;

  constructor(view: readonly ViewEntry[]) {
    this.#paths = view.flatMap((entry) => ("bind" in entry ? [entry.bind] : []));
  }

  look(): void {
    this.#seen = this.#identities();
    this.#lookedAt = performance.now();
  }

  /** As of at most a second ago. */
  hasChanged(): boolean {
    const now = performance.now();
    if (now - this.#lookedAt < pauseMs) return false;
    this.#lookedAt = now;
    return this.#identities() !== this.#seen;
  }

  #identities(): string {
    return this.#paths.map(identityOf).join();
  }
}

/** Names the file or folder that stands there now. */
export function identityOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "none" : `${found.dev}:${found.ino}`;
}

const pauseMs = 1000;
