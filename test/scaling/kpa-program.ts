import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A revision, its configuration and what is measured of it; see `test/clients/kpa/main.go`. */
export interface Trace {
  readonly annotations: Readonly<Record<string, string>>;
  readonly containerConcurrency: number;
  readonly config: Readonly<Record<string, string>>;
  readonly unreachable: boolean;
  /** Milliseconds that steps count from; 0 is the program's own time. */
  readonly base: number;
  /** Pods that are ready when the autoscaler is made. */
  readonly ready: number;
  readonly steps: readonly Step[];
}

/** Records `value` (where `record`), then decides (where `tick`). */
export interface Step {
  readonly at: number;
  readonly record: boolean;
  readonly value: number;
  readonly tick: boolean;
  readonly ready: number;
}

export interface Run {
  readonly base: number;
  readonly target: number;
  readonly total: number;
  readonly panicMs: number;
  readonly ticks: readonly Tick[];
}

export interface Tick {
  readonly valid: boolean;
  readonly stable: number;
  readonly panic: number;
  readonly desired: number;
  readonly excess: number;
}

/** Builds the program; gives its path. The Go tool keeps what it built, so that the next time takes seconds. */
export function buildKpa(): string {
  const folder = join(tmpdir(), "virga-test-clients");
  mkdirSync(folder, { recursive: true });
  const program = join(folder, `kpa-${process.pid}`);
  const built = spawnSync("go", ["build", "-p=2", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "."], {
    cwd: join(import.meta.dirname, "../clients/kpa"),
    encoding: "utf8",
    env: { ...process.env, GOFLAGS: "-mod=readonly", GOWORK: "off" },
  });
  if (built.status !== 0) throw new Error(`go build failed: ${built.stderr}`);
  return program;
}

export function runKpa(program: string, traces: readonly Trace[]): Run[] {
  const ran = spawnSync(program, { input: JSON.stringify(traces), encoding: "utf8", maxBuffer: 2 ** 28 });
  if (ran.status !== 0) throw new Error(`kpa failed: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as Run[];
}
