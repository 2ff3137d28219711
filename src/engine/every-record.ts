import { setImmediate as others } from "node:timers/promises";
import type { RecordEntry, Records } from "../ports/records.ts";

/** All records under a prefix, in pages, each as it was when its page was read. Calls go on between the pages. */
export async function* everyRecord<T>(records: Pick<Records, "list">, prefix: string): AsyncGenerator<RecordEntry<T>> {
  for (let after: string | undefined; ;) {
    const page = await records.list<T>(prefix, { limit: pageSize, ...(after === undefined ? {} : { after }) });
    yield* page;
    after = page.at(-1)?.key;
    if (page.length < pageSize) return;
    await others();
  }
}

const pageSize = 100;
