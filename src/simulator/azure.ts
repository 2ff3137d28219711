import { VirgaError } from "../core/errors.ts";
import { Random } from "./random.ts";
import { type Application, DayBuilder, type DayOfCalls, longestGapMs, type Trace } from "./trace.ts";

/** The files of the data set, whose names end in `d01.csv` and so on, a day each. */
export type AzureFile = "invocations_per_function" | "function_durations_percentiles" | "app_memory_percentiles";

/** The lines of a file of the given day (from 0) with the heading; undefined where there is none. */
export type ReadLines = (file: AzureFile, day: number) => Iterable<string> | undefined;

/**
 * A trace in the shape of "Azure Functions Trace 2019": calls of each function in each minute, percentiles of run times and
 * the memory of applications, joined by the hashed names. Only calls are needed; other functions run 700 ms and take 170 MB.
 *
 * The data set does not say where in its minute a call came. Timers are put at the minute's start, which is where schedules
 * put them, and other calls anywhere in it, by the seed.
 */
export class AzureTrace implements Trace {
  readonly applications: readonly Application[];
  readonly days: number;
  readonly #read: ReadLines;
  readonly #seed: number;
  readonly #byKey = new Map<string, number>();
  readonly #builder: DayBuilder;

  constructor(read: ReadLines, days: number, seed: number) {
    this.#read = read;
    this.#seed = seed;
    this.days = days;
    const functions: Set<string>[] = [];
    for (let day = 0; day < days; day++) {
      for (const row of rows(read, "invocations_per_function", day)) {
        const key = applicationKey(row);
        let index = this.#byKey.get(key);
        if (index === undefined) this.#byKey.set(key, (index = functions.push(new Set()) - 1));
        functions[index]!.add(row.field("HashFunction"));
      }
    }
    const memory = this.#memory();
    const names = [...this.#byKey.keys()];
    this.applications = names.map((name, index) => ({
      name,
      functions: functions[index]!.size,
      memoryMb: memory.get(name) ?? usualMemoryMb,
      startMs: usualStartMs,
    }));
    this.#builder = new DayBuilder(names.length);
  }

  day(index: number): DayOfCalls {
    const runs = new Map<string, readonly number[]>();
    for (const row of rows(this.#read, "function_durations_percentiles", index, true)) {
      runs.set(
        functionKey(row),
        quantiles.map((share) => Math.max(0, row.number(`percentile_Average_${share}`))),
      );
    }
    const grouped: Row[][] = this.applications.map(() => []);
    for (const row of rows(this.#read, "invocations_per_function", index)) {
      grouped[this.#byKey.get(applicationKey(row))!]!.push(row);
    }
    const builder = this.#builder;
    builder.begin();
    for (const [application, its] of grouped.entries()) {
      const random = new Random(this.#seed, application * 64 + index);
      for (const row of its) this.#calls(row, runs.get(functionKey(row)), random);
      builder.next();
    }
    return builder.day();
  }

  #calls(row: Row, runs: readonly number[] | undefined, random: Random): void {
    const timer = row.field("Trigger") === "timer";
    for (let minute = 0; minute < minutes; minute++) {
      const calls = row.number(String(minute + 1));
      if (calls === 0) continue;
      const start = minute * minuteMs;
      const gap = minuteMs / calls;
      if (gap <= longestGapMs) this.#builder.add(start, calls, gap, drawRun(runs, random));
      else {
        for (let call = 0; call < calls; call++) {
          const at = timer ? call * gap : random.next() * (minuteMs - 1);
          this.#builder.add(start + at, 1, 0, drawRun(runs, random));
        }
      }
    }
  }

  #memory(): Map<string, number> {
    const sums = new Map<string, { mb: number; days: number }>();
    for (let day = 0; day < this.days; day++) {
      for (const row of rows(this.#read, "app_memory_percentiles", day, true)) {
        const known = sums.get(applicationKey(row)) ?? { mb: 0, days: 0 };
        sums.set(applicationKey(row), { mb: known.mb + row.number("AverageAllocatedMb"), days: known.days + 1 });
      }
    }
    return new Map([...sums].map(([key, { mb, days }]) => [key, mb / days]));
  }
}

interface Row {
  field(name: string): string;
  /** Throws `bad_request` where it is none. */
  number(name: string): number;
}

function* rows(read: ReadLines, file: AzureFile, day: number, optional = false): Generator<Row> {
  const lines = read(file, day);
  if (lines === undefined) {
    if (optional) return;
    throw new VirgaError("not_found", `There is no ${file} file of day ${day + 1}`, {
      fix: "Give the folder that holds the files of the data set, or fewer --days.",
    });
  }
  let columns: Map<string, number> | undefined;
  let number = 0;
  for (const line of lines) {
    number++;
    if (line === "") continue;
    const fields = line.split(",");
    if (columns === undefined) {
      columns = new Map(fields.map((name, index) => [name.trim(), index]));
      continue;
    }
    const known = columns;
    const at = number;
    const field = (name: string): string => fields[known.get(name) ?? -1] ?? "";
    yield {
      field,
      number(name) {
        const value = Number(field(name));
        if (field(name) !== "" && Number.isFinite(value)) return value;
        throw new VirgaError("bad_request", `Line ${at} of ${file}, day ${day + 1}: column ${name} holds no number`, {
          field: name,
        });
      },
    };
  }
}

function applicationKey(row: Row): string {
  return `${row.field("HashOwner")}/${row.field("HashApp")}`;
}

function functionKey(row: Row): string {
  return `${applicationKey(row)}/${row.field("HashFunction")}`;
}

/** A run time between the function's percentiles. */
function drawRun(values: readonly number[] | undefined, random: Random): number {
  if (values === undefined) return usualRunMs;
  const share = random.next() * 100;
  for (let index = 1; index < quantiles.length; index++) {
    const [low, high] = [quantiles[index - 1]!, quantiles[index]!];
    if (share <= high)
      return values[index - 1]! + ((values[index]! - values[index - 1]!) * (share - low)) / (high - low);
  }
  return values.at(-1)!;
}

const quantiles = [0, 1, 25, 50, 75, 99, 100];
const minutes = 1440;
const minuteMs = 60_000;
const usualRunMs = 700;
const usualMemoryMb = 170;
const usualStartMs = 300;
