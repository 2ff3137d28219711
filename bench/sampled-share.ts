import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

interface Profile {
  readonly endTime: number;
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
}

/**
 * What share of the processor time that V8 has sampled (`--cpu-prof`, one profile in the folder) went into functions of
 * these files, what they called included; of the last seconds before the end, without `spareSeconds` at the very end.
 */
export function sampledShare(
  folder: string,
  files: ReadonlySet<string>,
  seconds: number,
  spareSeconds: number,
): number {
  const [file = ""] = readdirSync(folder).filter((name) => name.endsWith(".cpuprofile"));
  const profile = JSON.parse(readFileSync(join(folder, file), "utf8")) as Profile;
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const isIn = (id: number): boolean => {
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at))
      if (files.has(basename(nodes.get(at)!.callFrame.url))) return true;
    return false;
  };
  const until = profile.endTime - spareSeconds * 1e6;
  let at = profile.startTime;
  let all = 0;
  let inside = 0;
  for (const [index, id] of profile.samples.entries()) {
    const micros = profile.timeDeltas[index]!;
    at += micros;
    if (at < until - seconds * 1e6 || at > until) continue;
    if (nodes.get(id)!.callFrame.functionName === "(idle)") continue;
    all += micros;
    if (isIn(id)) inside += micros;
  }
  return inside / all;
}
