import type { FunctionId } from "../../core/model.ts";
import type { FollowedLine, History } from "../../engine/engine.ts";

/**
 * The newest lines that functions wrote outside of any call: what a server says while it starts. Records of calls have the others;
 * these would be nobody's.
 */
export class LooseLines {
  readonly #history: Pick<History, "follow">;
  readonly #byFunction = new Map<string, FollowedLine[]>();
  readonly #followed = new Map<string, () => void>();

  constructor(history: Pick<History, "follow">) {
    this.#history = history;
  }

  follow(namespace: string): void {
    if (this.#followed.has(namespace)) return;
    const stop = this.#history.follow({ namespace }, (line) => {
      if (line.invocation !== undefined) return;
      const key = `${line.namespace}/${line.name}`;
      const lines = this.#byFunction.get(key);
      if (lines === undefined) this.#byFunction.set(key, [line]);
      else if (lines.push(line) > mostLines) lines.splice(0, lines.length - mostLines / 2);
    });
    this.#followed.set(namespace, stop);
  }

  of(namespace: string, name: string): readonly FollowedLine[] {
    return this.#byFunction.get(`${namespace}/${name}`) ?? [];
  }

  forget({ namespace, name }: FunctionId): void {
    this.#byFunction.delete(`${namespace}/${name}`);
  }

  unfollow(namespace: string): void {
    this.#followed.get(namespace)?.();
    this.#followed.delete(namespace);
  }

  close(): void {
    for (const stop of this.#followed.values()) stop();
  }
}

const mostLines = 1000;
