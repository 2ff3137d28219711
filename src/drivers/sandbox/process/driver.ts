import type { Duplex } from "node:stream";
import type { Enforcement, Sandbox, SandboxedProgram, SandboxSpec } from "../../../ports/sandbox.ts";
import type { Cgroups } from "../cgroup.ts";
import type { HostUsers } from "../host-users.ts";
import { launch, type Shell, startedProcess } from "../launcher.ts";
import { givenUser } from "../mount-owners.ts";
import { isRunning, type ProcessEntry, processTree } from "../process-table.ts";
import { OutputPipes } from "../output-pipes.ts";
import type { Pipes } from "../pipes.ts";
import { type ProcessTree, RunningProgram } from "../program.ts";
import { bubblewrapRemedy, cgroupRemedy, userRemedy } from "../remedies.ts";
import { OutOfMemoryWatch, treeUsage, Watch } from "../watch.ts";

export interface ProcessOptions {
  readonly pipes: Pipes;
  readonly shell: Shell;
  readonly cgroups: Cgroups | undefined;
  readonly users: HostUsers | undefined;
  /** Puts the death of the server's process before a program as its own; empty where the host cannot. */
  readonly dieWithServer: readonly string[];
}

/** Plain child processes of the server: limits where the host gives them, and no walls. */
export function openProcessSandbox(options: ProcessOptions): Sandbox {
  return new ProcessSandbox(options);
}

class ProcessSandbox implements Sandbox {
  readonly name = "process";
  readonly enforces: Enforcement;
  readonly #options: ProcessOptions;
  readonly #running = new Set<RunningProgram>();
  readonly #watch = new Watch();
  readonly #memoryWatch = new OutOfMemoryWatch();

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.enforces = enforcement(options);
  }

  async start(spec: SandboxSpec): Promise<SandboxedProgram> {
    const { cgroups, pipes, users, shell, dieWithServer } = this.#options;
    const output = new OutputPipes(pipes);
    const undo: (() => void | Promise<void>)[] = [];
    const release = async (): Promise<void> => {
      for (const step of undo.toReversed()) await step();
    };
    try {
      const user = await givenUser(users, spec.mounts);
      if (user !== undefined) undo.push(() => users!.giveBack(user));
      const cgroup = await cgroups?.create(spec.id, spec.limits, spec.background);
      if (cgroup !== undefined) undo.push(() => cgroup.remove());
      const child = await launch(
        {
          command: [...dieWithServer, ...spec.command],
          environment: spec.environment,
          workingDirectory: spec.workingDirectory,
          limits: spec.limits,
          limitsProcesses: user !== undefined,
          user,
          cgroup,
          streams: [
            spec.stdin === "piped" ? "pipe" : "ignore",
            ...output.descriptors,
            ...(spec.channel === "link" ? ["pipe" as const] : []),
          ],
          closes: [],
        },
        shell,
      );
      const tree = treeOf(child.pid!);
      const program = new RunningProgram({
        id: spec.id,
        process: startedProcess(child),
        ...(spec.channel === "link" && { link: child.stdio[3] as Duplex }),
        ...(spec.stdin === "piped" && { stdin: child.stdin! }),
        stdout: output.stdout,
        stderr: output.stderr,
        cgroup,
        tree,
        expose(directory) {
          cgroup?.toForeground();
          return Promise.resolve(directory);
        },
        pathOf: (target) => spec.mounts.find((mount) => mount.target === target)?.source ?? target,
        emptied: () => tree.emptied(),
        release,
      });
      this.#running.add(program);
      if (cgroups?.killsWhole === false) this.#memoryWatch.add(program);
      if (cgroup === undefined) this.#watch.add(program, spec.limits);
      void program.exited.finally(() => this.#running.delete(program));
      return program;
    } catch (error) {
      output.destroy();
      await release();
      throw error;
    } finally {
      output.closeTheirs();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#running].map((program) => program.stop(0)));
    this.#watch.close();
    this.#memoryWatch.close();
    this.#options.cgroups?.close();
  }
}

function treeOf(pid: number): ProcessTree & { emptied(): Promise<void> } {
  const killed: ProcessEntry[] = [];
  return {
    main: () => pid,
    kill() {
      const tree = processTree(pid);
      killed.push(...tree);
      // The group holds what lost its parent; the tree holds what made a group of its own.
      for (const target of [-pid, ...tree.map((entry) => entry.pid)]) killQuietly(target);
    },
    usage: () => treeUsage(pid),
    /** A killed process is there until it has run once more. */
    async emptied() {
      while (killed.some((entry) => isRunning(entry.pid, entry.startTicks))) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
  };
}

function enforcement({ cgroups, users }: ProcessOptions): Enforcement {
  const open = "the `process` sandbox encloses nothing";
  const remarks = (["filesystem", "processIsolation", "networkNone", "networkOwn", "systemCalls", "tmp"] as const).map(
    (promise) => ({
      promise: promise as string,
      why: open,
      fix: bubblewrapRemedy,
    }),
  );
  const controls = cgroups?.controls;
  if (controls?.memory !== true) {
    remarks.push({ promise: "memory", why: "memory is looked at ten times a second", fix: cgroupRemedy });
  }
  if (controls?.cpu !== true)
    remarks.push({ promise: "cpu", why: "functions share the processors", fix: cgroupRemedy });
  const limitsProcesses = controls?.processes === true || users !== undefined;
  if (!limitsProcesses) {
    remarks.push({ promise: "processes", why: "processes are counted ten times a second", fix: cgroupRemedy });
  }
  if (users === undefined) {
    remarks.push({ promise: "ownUser", why: "all functions run as the server's user", fix: userRemedy });
  }
  return {
    memory: controls?.memory === true ? "enforced" : "watched",
    cpu: controls?.cpu === true ? "enforced" : "absent",
    processes: limitsProcesses ? "enforced" : "watched",
    openFiles: "enforced",
    fileSize: "enforced",
    tmp: "absent",
    filesystem: "absent",
    processIsolation: "absent",
    networkNone: "absent",
    networkOwn: "absent",
    systemCalls: "absent",
    ownUser: users === undefined ? "absent" : "enforced",
    remarks,
  };
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It was faster.
  }
}
