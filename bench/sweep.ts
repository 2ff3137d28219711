import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { loadProject } from "../src/cli/project.ts";
import { type Files, Platform } from "../test/platform/harness.ts";
import { spread } from "./figures.ts";
import { cpuSecondsOfTree } from "./processes.ts";
import type { Report } from "./run.ts";

export const name = "sweep";

const rounds = 3;
/** As in processes.ts. */
const ticksPerSecond = 100;
const example = resolve(import.meta.dirname, "../examples/chip-sweep");
const synth = join(example, "synth");

/** The 200 points of examples/chip-sweep through the platform, beside `xargs -P` with the same Yosys scripts; both give the same numbers. */
export async function measure(report: Report): Promise<void> {
  if (spawnSync("yosys", ["-V"]).status !== 0) {
    report("left out: needs yosys", "apt-get install yosys");
    return;
  }
  const platform = await Platform.start();
  const scratch = mkdtempSync(join(tmpdir(), "virga-bench-sweep-"));
  try {
    for (const { name, source, settings } of loadProject(example, { from: example }).functions)
      await platform.deploy(name, filesOf(source), { ...settings, scaling: { keepAliveMs: 1000 } });
    const xargs: number[] = [];
    const virga: number[] = [];
    const cpuRatios: number[] = [];
    const most: number[] = [];
    const back: number[] = [];
    for (let round = 0; round < rounds; round++) {
      let answers: unknown[] = [];
      let files: unknown[] = [];
      let cpu = Number.NaN;
      let bareCpu = Number.NaN;
      const sides = [
        async () => {
          const before = cpuSecondsOfTree(platform.pid);
          const { seconds, rows, peak } = await throughPlatform(platform);
          cpu = cpuSecondsOfTree(platform.pid) - before;
          back.push(await secondsToNone(platform));
          virga.push(seconds);
          most.push(peak);
          answers = rows;
        },
        async () => {
          const { seconds, cpuSeconds, rows } = await throughXargs(join(scratch, String(round)));
          bareCpu = cpuSeconds;
          xargs.push(seconds);
          files = rows;
        },
      ];
      for (const side of round % 2 === 0 ? sides : sides.toReversed()) await side();
      cpuRatios.push(cpu / bareCpu);
      if (answers.length !== 200 || !isDeepStrictEqual(answers, files))
        throw new Error("the platform's results are not those of xargs");
    }
    report(`xargs -P ${availableParallelism()}, 200 points (s)`, spread(xargs, 1));
    report("virga, 200 points from zero instances, one call (s)", spread(virga, 1));
    report(
      "ratio, round by round",
      spread(
        virga.map((seconds, round) => seconds / xargs[round]!),
        3,
      ),
    );
    report("ratio of CPU-seconds, platform and instances together", spread(cpuRatios, 3));
    report("instances at the most", spread(most));
    report("back to none behind the last answer, with a keep-alive of 1 s (s)", spread(back, 1));
  } finally {
    await platform.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function throughPlatform(platform: Platform): Promise<{ seconds: number; rows: unknown[]; peak: number }> {
  await secondsToNone(platform);
  let over = false;
  let peak = 0;
  const watching = (async () => {
    for (; !over; await pause(250)) peak = Math.max(peak, await instances(platform));
  })();
  const began = performance.now();
  const answer = await platform.call("chip-sweep", { path: "/?format=json" });
  const seconds = (performance.now() - began) / 1000;
  over = true;
  await watching;
  const { failed, rows } = answer.json<{ failed: number; rows: { seconds?: number }[] }>();
  if (answer.status !== 200 || failed > 0) throw new Error(`the sweep failed: ${answer.text.slice(0, 1000)}`);
  // The one column in which no two runs agree.
  for (const row of rows) delete row.seconds;
  return { seconds, rows, peak };
}

async function throughXargs(folder: string): Promise<{ seconds: number; cpuSeconds: number; rows: unknown[] }> {
  const scripts = python(
    "import handler; print(json.dumps([handler.script(p['design'], p['parameters'], p['design'] + '.v', p['folder']) for p in points]))",
    points(folder),
  );
  for (const { folder: own } of points(folder)) mkdirSync(own, { recursive: true });
  const before = childrenCpuSeconds();
  const began = performance.now();
  const child = spawn("xargs", ["-0", "-n", "1", "-P", String(availableParallelism()), "yosys", "-q", "-p"], {
    cwd: join(synth, "rtl"),
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.stdin.end((scripts as string[]).join("\0"));
  const [code] = await once(child, "exit");
  const seconds = (performance.now() - began) / 1000;
  const cpuSeconds = childrenCpuSeconds() - before;
  if (code !== 0) throw new Error(`xargs ended with code ${code}`);
  const rows = python(
    "import handler; results = [handler.results(p['folder']) for p in points]; " +
      "print(json.dumps([{'design': p['design'], 'parameters': p['parameters'], **area, 'depth': depth} for p, (area, depth) in zip(points, results)]))",
    points(folder),
  );
  return { seconds, cpuSeconds, rows };
}

/** CPU seconds of the children that this process has waited for, all their own included. */
function childrenCpuSeconds(): number {
  const stat = readFileSync("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
}

/** Runs Python in the function's own folder, with `points` at hand, and reads the JSON that it prints. */
function python(code: string, points: readonly Point[]): unknown[] {
  const { status, stdout, stderr } = spawnSync(
    "/usr/bin/python3",
    ["-B", "-c", `import json, sys; points = json.load(sys.stdin); ${code}`],
    { cwd: synth, input: JSON.stringify(points), encoding: "utf8", maxBuffer: 2 ** 26 },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as unknown[];
}

interface Point {
  readonly design: string;
  readonly parameters: Record<string, number>;
  readonly folder: string;
}

/** In the order in which the sweep takes them. */
function points(folder: string): Point[] {
  const { designs } = JSON.parse(readFileSync(join(example, "sweep/points.json"), "utf8")) as {
    designs: Record<string, Record<string, number[]>>;
  };
  return Object.entries(designs)
    .flatMap(([design, axes]) =>
      Object.entries(axes)
        .reduce<Record<string, number>[]>(
          (found, [axis, values]) => found.flatMap((before) => values.map((value) => ({ ...before, [axis]: value }))),
          [{}],
        )
        .map((parameters) => ({ design, parameters })),
    )
    .map((point, index) => ({ ...point, folder: join(folder, String(index)) }));
}

async function secondsToNone(platform: Platform): Promise<number> {
  const began = performance.now();
  while ((await instances(platform)) > 0) await pause(100);
  return (performance.now() - began) / 1000;
}

async function instances(platform: Platform): Promise<number> {
  return (await platform.request("/v1/namespaces/default/functions/chip-synth")).json().instances.length;
}

function filesOf(source: string): Files {
  const names = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(names.map((name) => [name.slice(source.length + 1), readFileSync(name, "utf8")]));
}
