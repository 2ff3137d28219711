import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Affinity } from "../../core/affinity.ts";
import type { Log } from "../../ports/log.ts";
import type { Processors } from "../../ports/sandbox.ts";
import type { Cgroup } from "./cgroup.ts";

/**
 * Holds threads to processors. Node has no call for it: a Python program of ours does it, which begins with the first order. Where
 * it is lost again and again, everything runs where the kernel wants it, but for
 * programs that were held then.
 */
export class HostProcessors implements Processors {
  readonly #allowed: readonly number[];
  readonly #python: string;
  readonly #log: Log;
  #helper: ChildProcess | undefined;
  #isLost = false;
  #losses = 0;
  /** The one that the server is held to. */
  #own: number | undefined;

  private constructor(allowed: readonly number[], python: string, log: Log) {
    this.#allowed = allowed;
    this.#python = python;
    this.#log = log;
  }

  /** Undefined where there is only one, or where this host cannot hold threads. */
  static find(python: string, log: Log): HostProcessors | undefined {
    if (!existsSync(python) || !existsSync(taskset)) return undefined;
    try {
      const allowed = processorsIn(readFileSync("/proc/self/status", "utf8"));
      return allowed.length > 1 ? new HostProcessors(allowed, python, log) : undefined;
    } catch {
      return undefined;
    }
  }

  get others(): number {
    return this.#allowed.length - 1;
  }

  serverActiveMs(): number {
    return performance.eventLoopUtilization().active;
  }

  holdServer(isHeld: boolean): void {
    this.#own = isHeld && !this.#isLost ? lastProcessor(this.#allowed) : undefined;
    this.#order(this.#ofServer());
  }

  get freeing(): string[] {
    return this.#own === undefined ? [] : [taskset, "-c", this.#allowed.join(",")];
  }

  /** All processes of the group. Their threads for compilation and collection stay free; those that user code makes do not. */
  bind(group: Cgroup, affinity: Affinity): void {
    const own = this.#own;
    const list = { group: group.processList };
    if (affinity === "any" || own === undefined) this.#order({ processors: this.#allowed, threads: "all", ...list });
    else if (affinity === "server") this.#order({ processors: [own], threads: "main", ...list });
    else this.#order({ processors: this.#allowed.filter((one) => one !== own), threads: "all", ...list });
  }

  close(): void {
    this.#isLost = true;
    this.#helper?.stdin?.end();
  }

  #ofServer(): Order {
    const processors = this.#own === undefined ? this.#allowed : [this.#own];
    return { processors, threads: "main", pid: process.pid };
  }

  #order(order: Order): void {
    if (this.#isLost) return;
    this.#helper ??= this.#start();
    this.#helper.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  #start(): ChildProcess {
    const helper = spawn(this.#python, ["-I", "-S", join(import.meta.dirname, "helpers/processors.py")], {
      stdio: ["pipe", "ignore", "pipe"],
      env: {},
    });
    let said = "";
    helper.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-2000)));
    const lost = (reason: string): void => {
      if (this.#isLost || this.#helper !== helper) return;
      this.#helper = undefined;
      // It may have taken an order with it: the one that matters is given again.
      if (++this.#losses <= mostLosses) return this.#order(this.#ofServer());
      this.#isLost = true;
      this.#own = undefined;
      spawn(taskset, ["-cp", this.#allowed.join(","), String(process.pid)], { stdio: "ignore" }).on(
        "error",
        () => undefined,
      );
      this.#log.warn("instances are not held to processors any more: what sets that has ended", { reason });
    };
    helper.stdin.on("error", () => undefined);
    helper.once("error", (error) => lost(error.message));
    helper.once("exit", () => lost(said.trim().split("\n").at(-1) ?? ""));
    helper.unref();
    for (const stream of [helper.stdin, helper.stderr]) (stream as unknown as { unref(): void }).unref();
    return helper;
  }
}

/** Of the helper, before everything is left to the kernel. */
const mostLosses = 3;
/** Of util-linux, which every Debian has. */
const taskset = "/usr/bin/taskset";

/** Of a program in this group. */
export function bindingOf(
  group: Cgroup | undefined,
  processors: HostProcessors | undefined,
): ((affinity: Affinity) => void) | undefined {
  if (group === undefined || processors === undefined) return undefined;
  return (affinity) => processors.bind(group, affinity);
}

interface Order {
  readonly processors: readonly number[];
  readonly threads: "main" | "all";
  readonly group?: string;
  readonly pid?: number;
}

/** From a list such as `0-3,8`. */
function processorsIn(status: string): number[] {
  const [, list = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status) ?? [];
  return list.split(",").flatMap((range) => {
    const [first = "", last = first] = range.split("-");
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
  });
}

/** Where the server's first thread ran last: field 39 of /proc/PID/stat. */
function lastProcessor(allowed: readonly number[]): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const found = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[36]);
  return allowed.includes(found) ? found : allowed[0]!;
}
