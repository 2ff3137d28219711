import type { Clock, Timer } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";

export interface SweeperOptions {
  /** In their order, by what they remove. */
  readonly sweeps: Readonly<Record<string, () => Promise<void>>>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Removes what is not needed any more, one kind after another: now, and each hour. */
export function startSweeper({ sweeps, clock, log }: SweeperOptions): { stop(): Promise<void> } {
  let timer: Timer | undefined;
  let isStopped = false;
  const round = async (): Promise<void> => {
    for (const [what, sweep] of Object.entries(sweeps)) {
      if (isStopped) return;
      await sweep().catch((error: unknown) => log.error(`${what} could not be removed`, { error }));
    }
    if (!isStopped) timer = clock.after(everyMs, () => void (sweeping = round()));
  };
  let sweeping = round();
  return {
    async stop() {
      isStopped = true;
      timer?.cancel();
      await sweeping;
    },
  };
}

const everyMs = 3_600_000;
