/** Runs actions of the same key one after another, in the order of their arrival. */
export function createTurns(): <T>(key: string, action: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();

  return async (key, action) => {
    // The one before may have failed; that is its caller's to know.
    const run = (last.get(key) ?? Promise.resolve()).then(action, action);
    last.set(key, run);
    try {
      return await run;
    } finally {
      if (last.get(key) === run) last.delete(key);
    }
  };
}
