import { realpathSync } from "node:fs";
import { join } from "node:path";
import { VirgaError } from "../../../../core/errors.ts";
import type { Log } from "../../../../ports/log.ts";
import type { SandboxedProgram, SandboxSpec, Zygote } from "../../../../ports/sandbox.ts";
import { codePath } from "../arguments.ts";
import { Premises, type PremisesOptions } from "../premises.ts";
import type { SystemCalls } from "../system-calls.ts";
import type { ViewEntry } from "../system-view.ts";
import type { Cgroup } from "../../cgroup.ts";
import { bindingOf, type HostProcessors } from "../../processors.ts";
import { childrenOf, isRunning, type ProcessEntry, readProcess } from "../../process-table.ts";
import { RunningProgram } from "../../program.ts";
import { treeUsage } from "../../watch.ts";
import { ForkServer, type ForkServerOptions, type ForkServerSpec, type Run } from "./fork-server.ts";
import { ViewWatch } from "./view-watch.ts";

export interface ZygoteOptions extends PremisesOptions {
  readonly home: string;
  readonly view: readonly ViewEntry[];
  readonly calls: Pick<SystemCalls, "clone" | "pivotRoot">;
  readonly filter: Buffer | undefined;
  readonly log: Log;
  readonly processors: HostProcessors | undefined;
  /** Told of each copy, before anybody else has it. */
  readonly onStart: (program: RunningProgram, spec: ForkSpec, cgroup: Cgroup | undefined) => void;
}

export type ForkSpec = Pick<SandboxSpec, "id" | "network" | "limits" | "background">;

/** What a launcher is told beside. */
export interface Launch extends Pick<SandboxSpec, "channel"> {
  readonly run: Run;
  /** Folder that it sees at `/code` from its start; a slot where there is none. */
  readonly code?: string | undefined;
}

/**
 * Enclosed copies of one loaded Python program or, where it has none, programs that such a copy becomes. Each stands where
 * bubblewrap would have put it: the same view, namespaces, limits, control group, host user, filter. What makes the copies
 * is one fork server, started anew when it is lost or the host's files are others.
 */
export class BubblewrapZygote implements Zygote {
  readonly #spec: ForkServerSpec;
  readonly #options: ZygoteOptions;
  readonly #name: string;
  readonly #view: ViewWatch;
  #server: ForkServer | undefined;
  #opening: Promise<void> | undefined;
  #failures = 0;
  #notBefore = 0;
  #servers = 0;
  #trials = 0;
  readonly #alive = new Set<ForkServer>();
  #closed = false;
  #retired = false;

  /** `name`: for folders, unique in the driver. */
  constructor(name: string, spec: ForkServerSpec, options: ZygoteOptions) {
    this.#name = name;
    this.#spec = spec;
    this.#options = options;
    const mounted = spec.mounts.map(({ source, target }) => ({ bind: source, path: target }));
    this.#view = new ViewWatch([...options.view, ...mounted]);
  }

  opened(): Promise<void> {
    if (this.#closed || this.#retired)
      return Promise.reject(new VirgaError("unavailable", "The sandbox is closed, or has another zygote"));
    if (this.#server !== undefined) return Promise.resolve();
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async fork(spec: ForkSpec, launch?: Launch): Promise<SandboxedProgram> {
    if (this.#server !== undefined && this.#view.hasChanged()) {
      this.#options.log.info("a zygote is replaced: files of the host that programs see are others now");
      this.#server.retire();
      this.#server = undefined;
    }
    const server = this.#server;
    if (server === undefined) {
      if (performance.now() >= this.#notBefore) this.opened().catch(() => undefined); // it is in the log
      throw new VirgaError("unavailable", "The zygote is not there yet");
    }
    const { program, failed } = await this.#forkFrom(server, spec, launch);
    void failed.then((yes) => {
      // The host has changed under it: ask bubblewrap, until a trial goes well.
      if (yes && this.#server === server) this.#lose(server, "a copy could not enclose itself");
    });
    return program;
  }

  /** Makes no more copies; those that run go on. */
  retire(): void {
    this.#retired = true;
    this.#server?.retire();
    this.#server = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#server = undefined;
    for (const server of this.#alive) server.kill("the sandbox is closed");
    await this.#opening?.catch(() => undefined); // closed is closed
    await Promise.all([...this.#alive].map((server) => server.ended));
  }

  async #open(): Promise<void> {
    const { home, view, calls, filter, users, log } = this.#options;
    let server: ForkServer | undefined;
    this.#view.look();
    try {
      server = await this.#begin({
        spec: this.#spec,
        folder: join(realpathSync(home), `${this.#name}-${++this.#servers}`),
        view,
        calls: { clone: calls.clone, pivotRoot: calls.pivotRoot },
        filter,
        asRoot: users !== undefined,
        before: this.#options.processors?.freeing ?? [],
      });
      await this.#try(server);
      this.#failures = 0;
      if (this.#retired) server.retire();
      else this.#server = server;
    } catch (error) {
      server?.kill("its trial failed");
      this.#delay();
      const { message } = error as Error;
      if (!this.#closed) {
        const { interpreter } = this.#spec;
        log.warn("no zygote: programs of its kind start one by one", { interpreter, reason: message });
      }
      throw error instanceof VirgaError ? error : new VirgaError("unavailable", message, { cause: error });
    }
  }

  async #begin(options: ForkServerOptions): Promise<ForkServer> {
    const server = await ForkServer.start(options);
    this.#alive.add(server);
    void server.ended.then((why) => {
      this.#alive.delete(server);
      this.#lose(server, why);
    });
    if (this.#closed) server.kill("the sandbox is closed");
    const late = setTimeout(() => server.kill(`it did not load its program within ${loadMs} ms`), loadMs);
    await server.ready.finally(() => clearTimeout(late));
    return server;
  }

  /** Encloses one copy that nobody uses. */
  async #try(server: ForkServer): Promise<void> {
    const spec: ForkSpec = {
      id: `${this.#name}-try-${++this.#trials}`,
      network: "none",
      limits: { memoryMb: 128, cpus: 1, processes: 16, openFiles: 64, fileSizeMb: 1, tmpMb: 1 },
    };
    const run = { command: ["/bin/sh", "-c", "exit 0"], environment: {}, directory: "/" };
    const launch: Launch | undefined = this.#spec.program === undefined ? { channel: "link", run } : undefined;
    const { program, failed } = await this.#forkFrom(server, spec, launch);
    let said = "";
    program.stdout.resume();
    program.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
    program.link!.resume().end();
    const late = setTimeout(() => void program.stop(0), trialMs);
    await program.exited;
    clearTimeout(late);
    if (await failed) throw new VirgaError("unavailable", said.trim() || "a copy could not enclose itself");
  }

  #lose(server: ForkServer, why: string): void {
    server.retire();
    if (this.#server !== server) return;
    this.#server = undefined;
    if (this.#closed) return;
    this.#delay();
    this.#options.log.warn("the zygote is gone, the next start begins another", {
      interpreter: this.#spec.interpreter,
      reason: why,
    });
  }

  #delay(): void {
    this.#notBefore = performance.now() + Math.min(longestPauseMs, firstPauseMs * 2 ** this.#failures++);
  }

  async #forkFrom(
    server: ForkServer,
    spec: ForkSpec,
    { channel, code, run }: Pick<Launch, "channel"> & Partial<Launch> = { channel: "link" },
  ): Promise<{ program: RunningProgram; failed: Promise<boolean> }> {
    if (spec.network === "own") throw new VirgaError("unavailable", "a copy has no network of its own");
    const mounts = code === undefined ? [] : [{ source: code, target: codePath, writable: false }];
    const premises = await Premises.take({ ...spec, mounts, channel }, this.#options, ownProcesses);
    const { cgroup, output, slot, user } = premises;
    try {
      const [stdout, stderr] = output.paths;
      const { limits } = spec;
      const child = await server.fork({
        stdout,
        stderr,
        groups: cgroup?.folders ?? [],
        user: user ?? null,
        code: code ?? slot?.directory ?? null,
        network: spec.network === "host",
        limits: {
          processes: cgroup?.limitsProcesses === true && user === undefined ? null : limits.processes,
          openFiles: limits.openFiles,
          fileSizeMb: limits.fileSizeMb,
          tmpMb: limits.tmpMb,
        },
        run: run ?? null,
        link: channel === "link",
      });
      const { pid } = child;
      const first = readProcess(pid);
      const program = new RunningProgram({
        id: spec.id,
        process: child,
        link: child.link,
        stdout: output.stdout,
        stderr: output.stderr,
        cgroup,
        tree: {
          // Below the first process of the namespace, which is the zygote's child.
          main: () => childrenOf(pid)[0],
          kill: () => undefined,
          usage: () => treeUsage(pid),
        },
        expose: (directory) => premises.expose(directory),
        pathOf: (target) => target,
        bindTo: bindingOf(cgroup, this.#options.processors),
        // Waited for by the zygote it is gone, and its namespace with it; without a zygote it is about to go.
        emptied: () => gone(first),
        release: () => premises.release(),
      });
      output.closeTheirs();
      this.#options.onStart(program, spec, cgroup);
      return { program, failed: child.failed };
    } catch (error) {
      await premises.abandon();
      throw error;
    }
  }
}

async function gone(process: ProcessEntry | undefined): Promise<void> {
  if (process === undefined) return;
  while (isRunning(process.pid, process.startTicks)) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** The first process of the namespace. */
const ownProcesses = 1;
const loadMs = 30_000;
/** For a program that does not end with its link. */
const trialMs = 2000;
const firstPauseMs = 500;
const longestPauseMs = 60_000;
