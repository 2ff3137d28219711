/** Runs actions of the same key one after another, in the order of their arrival, and those of different keys side by side. */
export type Turns = <T>(key: string, action: () => Promise<T>) => Promise<T>;

export function createTurns(): Turns {
  const last = new Map<string, Promise<unknown>>();

  return function turn<T>(key: string, action: () => Promise<T>): Promise<T> {
    // The one before may have failed; that is its caller's to know.
    const run = (last.get(key) ?? Promise.resolve()).then(action, action);
    last.set(key, run);
    const leave = () => {
      if (last.get(key) === run) last.delete(key);
    };
    run.then(leave, leave);
    return run;
  };
}
