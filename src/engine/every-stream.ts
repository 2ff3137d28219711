import { setImmediate as others } from "node:timers/promises";
import type { Journal } from "../ports/journal.ts";

/** The names of all streams under a prefix, in pages. Calls go on between the pages. */
export async function* everyStream(journal: Pick<Journal, "streams">, prefix: string): AsyncGenerator<string> {
  for (let after: string | undefined; ;) {
    const page = await journal.streams(prefix, { limit: pageSize, ...(after === undefined ? {} : { after }) });
    yield* page;
    after = page.at(-1);
    if (page.length < pageSize) return;
    await others();
  }
}

const pageSize = 100;
