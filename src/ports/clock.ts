/** Time and chance: the only two things that tests replace. */
export interface Clock {
  /** Milliseconds since the Unix epoch; may jump with the host's clock. */
  now(): number;
  /** Milliseconds with fractions that only grow; for durations. */
  monotonic(): number;
  /** Calls once after `delayMs`, however long; up to 1 ms early, as the host's timers are. The timer does not keep the process alive. */
  after(delayMs: number, action: () => void): Timer;
}

export interface Timer {
  /** The action is not called any more. Does nothing once it was. */
  cancel(): void;
}

export interface Chance {
  /** Uniform in [0, 1). */
  random(): number;
  bytes(length: number): Uint8Array;
}
