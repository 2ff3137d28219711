import { setTimeout as pause } from "node:timers/promises";
import type { Invocation } from "../core/model.ts";
import { VirgaError } from "../core/errors.ts";
import type { InvocationStatusView } from "./api.ts";
import { path } from "./client.ts";
import type { Context } from "./command.ts";
import type { Terminal } from "./terminal.ts";
import { formatDuration, formatSize } from "./units.ts";

/** Records are written behind the reply; a second is ten times the longest batch. */
const recordWithinMs = 1000;

/** The record of a call that has been answered. */
export async function fetchSettled({ client, namespace, signal }: Context, id: string): Promise<Invocation> {
  const until = Date.now() + recordWithinMs;
  for (;;) {
    try {
      const view = await client.get<InvocationStatusView>(path`/v1/namespaces/${namespace}/invocations/${id}`);
      if (view.timings !== undefined && view.status !== "running") return view as Invocation;
    } catch (error) {
      if (!(error instanceof VirgaError) || error.code !== "not_found" || Date.now() > until) throw error;
    }
    if (Date.now() > until) throw new VirgaError("not_found", `the record of ${id} did not appear in time`);
    await pause(50, undefined, { signal });
  }
}

/** Where the time of a call went, as bars of one length. `clientMs`: as the caller saw it. */
export function timingLines(terminal: Terminal, { timings, usage, id }: Invocation, clientMs?: number): string[] {
  const phases: [string, number][] = [
    ["queue", timings.queueMs],
    ["cold start", timings.coldStartMs],
    ["init", timings.initMs],
    ["run", timings.runMs],
    ["total", timings.totalMs],
  ];
  if (clientMs !== undefined) phases.push(["seen here", clientMs]);
  const longest = Math.max(...phases.map(([, ms]) => ms), 0.001);
  const lines = phases.map(([name, ms]) => {
    const bar = "▇".repeat(Math.round((ms / longest) * 30));
    return `  ${name.padEnd(10)} ${formatDuration(ms).padStart(9)}  ${terminal.styleNote("cyan", bar)}`.trimEnd();
  });
  const paid = `${usage.billedMs} ms at ${usage.memoryMb} MiB`;
  const start = usage.coldStart ? "cold" : "warm";
  lines.push(
    `  ${start}, billed ${paid}, CPU ${formatDuration(usage.cpuMs)}, peak ${formatSize(usage.memoryPeakBytes)}`,
    `  invocation ${id}`,
  );
  return lines;
}
