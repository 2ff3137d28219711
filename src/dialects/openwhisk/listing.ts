import type { Exchange } from "./exchange.ts";
import { malformed } from "./errors.ts";

export interface Page {
  readonly skip: number;
  readonly limit: number;
  /** The client wants to know how many there are, and nothing of them. */
  readonly count: boolean;
}

const usual = 30;
const most = 200;

/** `limit`, `skip`, `count` of a list's query (contract section 2.2): limit 0 is as many as there may be. */
export function readPage(exchange: Exchange): Page {
  const limit = whole(exchange, "limit", usual);
  const skip = whole(exchange, "skip", 0);
  if (limit > most) throw malformed(`The value '${limit}' is not in the range of 0 to ${most} for list 'limit'.`);
  return { skip, limit: limit === 0 ? most : limit, count: exchange.flag("count") };
}

/** Newest first, in pages, or their number. */
export function answerList<T extends { readonly updated: number }>(
  exchange: Exchange,
  collection: string,
  all: readonly T[],
  shown: (document: T) => unknown,
): void {
  const { skip, limit, count } = readPage(exchange);
  if (count) {
    exchange.answer(200, { [collection]: Math.max(0, all.length - skip) });
    return;
  }
  const sorted = all.toSorted((a, b) => b.updated - a.updated);
  exchange.answer(200, sorted.slice(skip, skip + limit).map(shown));
}

export function whole(exchange: Exchange, name: string, otherwise: number): number {
  const given = exchange.query.get(name);
  if (given === null || given === "") return otherwise;
  if (/^\d{1,15}$/.test(given)) return Number(given);
  throw malformed(`The value '${given}' is not in the range of 0 to ${most} for list '${name}'.`);
}
