/**
 * Periods in the times of calls: timers, polling devices, nightly jobs, several of them in one function.
 * Each slot holds a period, when the next call by it is due, how far calls came from that, and how sure it is.
 */
export interface Rhythms {
  /** Four numbers for each slot; a period of 0 is an empty slot. */
  readonly slots: number[];
  /** The newest call that no period foresaw. */
  oddAt: number;
}

export function noRhythms(now: number): Rhythms {
  return { slots: Array.from({ length: slotCount * width }, () => 0), oddAt: now };
}

/** A call came at `now`. True: a period foresaw it. */
export function observeRhythms(rhythms: Rhythms, now: number): boolean {
  const { slots } = rhythms;
  let foreseen = false;
  for (let slot = 0; slot < slots.length; slot += width) {
    const period = slots[slot]!;
    if (period === 0) continue;
    const spread = slots[slot + spreadAt]!;
    const reach = tolerance(period, spread);
    let due = slots[slot + dueAt]!;
    if (now > due + reach) {
      const missed = Math.ceil((now - due - reach) / period);
      due += missed * period;
      slots[slot + trustAt] = Math.max(0, slots[slot + trustAt]! - missed);
    }
    const error = now - due;
    if (Math.abs(error) <= reach) {
      foreseen = true;
      slots[slot + trustAt] = Math.min(mostTrust, slots[slot + trustAt]! + 1);
      slots[slot + spreadAt] = spread + (Math.abs(error) - spread) / 4;
      // A locked loop: it follows a clock that drifts and is not thrown by one that is late.
      slots[slot] = period + error / 20;
      due += slots[slot]! + error / 3;
    }
    slots[slot + dueAt] = due;
  }
  if (foreseen) return true;
  suspect(slots, now, now - rhythms.oddAt);
  rhythms.oddAt = now;
  return false;
}

/** When a call is due by the slot's period, not over before `after`. Undefined where there is none, or no trust in it any more. */
export function rhythmWindow(rhythms: Rhythms, index: number, after: number): { from: number; to: number } | undefined {
  const { slots } = rhythms;
  const slot = index * width;
  const period = slots[slot]!;
  if (period === 0 || slots[slot + trustAt]! < 1) return undefined;
  const half = Math.max(500, 3 * slots[slot + spreadAt]!);
  let due = slots[slot + dueAt]!;
  if (due + half <= after) {
    const missed = Math.floor((after - due - half) / period) + 1;
    if (slots[slot + trustAt]! - missed < 1) return undefined;
    due += missed * period;
  }
  return { from: due - half, to: due + half };
}

export function rhythmPeriod(rhythms: Rhythms, index: number): number {
  return rhythms.slots[index * width]!;
}

/** Two calls that were not foreseen may be the beginning of a period. */
function suspect(slots: number[], now: number, period: number): void {
  if (period < shortestPeriodMs) return;
  let weakest = 0;
  for (let slot = 0; slot < slots.length; slot += width) {
    if (slots[slot]! > 0 && Math.abs(slots[slot]! - period) < tolerance(slots[slot]!, slots[slot + spreadAt]!)) return;
    if (slots[slot + trustAt]! < slots[weakest + trustAt]!) weakest = slot;
  }
  if (slots[weakest + trustAt]! >= settledTrust) return;
  slots[weakest] = period;
  slots[weakest + dueAt] = now + period;
  slots[weakest + spreadAt] = period * 0.003;
  // Whole minutes are what people write into schedules.
  const byTheMinute = Math.abs(period - Math.round(period / 60_000) * 60_000) < 1500;
  slots[weakest + trustAt] = byTheMinute ? 2 : 1;
}

/** How far from the due time a call still belongs to the period. */
function tolerance(period: number, spread: number): number {
  return Math.min(period / 5, Math.max(1000, 4 * spread, period / 100));
}

export const slotCount = 3;
const width = 4;
const dueAt = 1;
const spreadAt = 2;
const trustAt = 3;
/** Misses in a row after which a period is forgotten: a weekend of a daily job is two. */
const mostTrust = 12;
const settledTrust = 3;
const shortestPeriodMs = 10_000;
