import { setImmediate as others } from "node:timers/promises";
import type { Journal } from "../ports/journal.ts";
import { readSummary, type SegmentSummary } from "./segment.ts";

/**
 * Where a namespace's records lie: the summaries of all its segments in memory (56 bytes each), by sequence number.
 *
 * So that opening need not read every segment, the summaries of each 256 are kept in a stream of their own:
 * its event number k holds those of segments 256·(k−1)+1 to 256·k. What a crash left out is made good from the segments.
 */
export class SegmentIndex {
  readonly #journal: Journal;
  readonly #stream: string;
  readonly #pages: string;
  readonly #columns: { readonly [K in keyof SegmentSummary]-?: number[] } = {
    min: [],
    max: [],
    count: [],
    names: [],
    statuses: [],
    untimed: [],
    values: [],
  };
  #first = 1;
  #pagesWritten = 0;
  #firstPage = 1;
  #records = 0;

  private constructor(journal: Journal, stream: string, pages: string) {
    this.#journal = journal;
    this.#stream = stream;
    this.#pages = pages;
  }

  static async open(journal: Journal, stream: string, pages: string): Promise<SegmentIndex> {
    const index = new SegmentIndex(journal, stream, pages);
    const { first, last } = await journal.bounds(stream);
    index.#first = first;
    const paged = await journal.bounds(pages);
    index.#pagesWritten = paged.last;
    index.#firstPage = paged.first;
    let page = Math.floor((first - 1) / pageSegments) + 1;
    // Pages that were trimmed too eagerly, or not written at all, are read from the segments instead.
    if (page >= paged.first) {
      for (; page <= paged.last; page++) {
        const [event] = await journal.read(pages, page, 1);
        if (event === undefined || event.sequence !== page) break;
        const rows = JSON.parse(Buffer.from(event.data).toString("utf8")) as SegmentSummary[];
        for (const [offset, row] of rows.entries()) {
          const sequence = (page - 1) * pageSegments + 1 + offset;
          if (sequence === index.next && sequence <= last) index.#push(row);
        }
        await others();
      }
    }
    await index.catchUp();
    return index;
  }

  /** The sequence number of the first segment kept. */
  get first(): number {
    return this.#first;
  }

  /** The sequence number that the next segment gets. */
  get next(): number {
    return this.#first + this.#columns.count.length;
  }

  /** Records in all segments kept. */
  get records(): number {
    return this.#records;
  }

  count(sequence: number): number {
    return this.#columns.count[sequence - this.#first] ?? 0;
  }

  max(sequence: number): number {
    return this.#columns.max[sequence - this.#first] ?? 0;
  }

  /** Takes the summaries of segments just appended, of which `last` is the last one's number. */
  async add(summaries: readonly SegmentSummary[], last: number): Promise<void> {
    if (this.next === last - summaries.length + 1) for (const summary of summaries) this.#push(summary);
    else await this.catchUp();
  }

  /** Reads the summaries of segments that this index has not seen. */
  async catchUp(): Promise<void> {
    for (;;) {
      const events = await this.#journal.read(this.#stream, this.next, 16);
      if (events.length === 0) return;
      for (const event of events) {
        if (event.sequence === this.next) this.#push(readSummary(event.data));
      }
      await others();
    }
  }

  /** Sequence numbers of the segments that `wanted` may have records in, newest segment first. */
  candidates(wanted: { from: number; to: number; names: number; statuses: number; untimed: boolean }): number[] {
    const { min, max, names, statuses, untimed } = this.#columns;
    const found: number[] = [];
    for (let row = min.length - 1; row >= 0; row--) {
      if ((names[row]! & wanted.names) === 0 || (statuses[row]! & wanted.statuses) === 0) continue;
      if (wanted.untimed ? untimed[row] === 0 : min[row]! > wanted.to || max[row]! < wanted.from) continue;
      found.push(this.#first + row);
    }
    return found;
  }

  /** Sequence numbers of the segments whose records may name kept values. */
  withValues(): number[] {
    return this.#columns.values.flatMap((has, row) => (has === 0 ? [] : this.#first + row));
  }

  /** Forgets the segments before `sequence`. */
  trim(sequence: number): void {
    const rows = Math.min(sequence, this.next) - this.#first;
    if (rows <= 0) return;
    for (let row = 0; row < rows; row++) this.#records -= this.#columns.count[row]!;
    for (const column of Object.values(this.#columns)) column.splice(0, rows);
    this.#first += rows;
  }

  /** Writes the pages that have become full, and removes those whose segments are gone. */
  async save(at: number): Promise<void> {
    const full = Math.floor((this.next - 1) / pageSegments);
    while (this.#pagesWritten < full) {
      const page = this.#pagesWritten + 1;
      const rows: SegmentSummary[] = [];
      for (let sequence = (page - 1) * pageSegments + 1; sequence <= page * pageSegments; sequence++) {
        rows.push(this.#row(sequence));
      }
      const data = Buffer.from(JSON.stringify(rows));
      this.#pagesWritten = await this.#journal.append(this.#pages, [{ at, data }], { expect: this.#pagesWritten });
    }
    const firstPage = Math.floor((this.#first - 1) / pageSegments) + 1;
    if (firstPage <= this.#firstPage) return;
    await this.#journal.trim(this.#pages, { before: Math.min(firstPage, this.#pagesWritten + 1) });
    this.#firstPage = firstPage;
  }

  /** A segment that is gone by now has an empty row: nobody will ask for it. */
  #row(sequence: number): SegmentSummary {
    const row = sequence - this.#first;
    const { min, max, count, names, statuses, untimed, values } = this.#columns;
    return {
      min: min[row] ?? 0,
      max: max[row] ?? 0,
      count: count[row] ?? 0,
      names: names[row] ?? 0,
      statuses: statuses[row] ?? 0,
      untimed: untimed[row] ?? 0,
      values: values[row] ?? 0,
    };
  }

  #push(summary: SegmentSummary): void {
    const columns = this.#columns;
    columns.min.push(summary.min);
    columns.max.push(summary.max);
    columns.count.push(summary.count);
    columns.names.push(summary.names);
    columns.statuses.push(summary.statuses);
    columns.untimed.push(summary.untimed);
    columns.values.push(summary.values ?? 1);
    this.#records += summary.count;
  }
}

const pageSegments = 256;
