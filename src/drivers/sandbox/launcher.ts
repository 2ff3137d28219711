import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { VirgaError } from "../../core/errors.ts";
import type { SandboxLimits } from "../../ports/sandbox.ts";
import type { Cgroup } from "./cgroup.ts";
import type { StartedProcess } from "./program.ts";

/** A program to be started with limits around it. */
export interface Launch {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly limits: Pick<SandboxLimits, "processes" | "openFiles" | "fileSizeMb">;
  /** Whether the process limit is set here: it counts all of the user's processes. */
  readonly limitsProcesses: boolean;
  /** Host user and group id; this process's own where undefined. */
  readonly user: number | undefined;
  readonly cgroup: Cgroup | undefined;
  /** From descriptor 0 on: descriptors of ours to give on, `pipe` for a connected pair of sockets, or `ignore`. */
  readonly streams: readonly (number | "pipe" | "ignore")[];
  /** Descriptors among them that the program shall not have. */
  readonly closes: readonly number[];
}

/**
 * Resolves to the process when it is spawned. A shell enters the control groups and sets the limits, then becomes the
 * program: Node can do neither between fork and exec. Rejects with `unavailable`.
 */
export async function launch({ streams, ...request }: Launch, shell: Shell): Promise<ChildProcess> {
  const entrances = request.cgroup?.openEntrances() ?? [];
  const first = streams.length;
  if (first + entrances.length > 10) throw new VirgaError("internal", "a shell can name descriptors 0 to 9 only");
  const script = [
    ...entrances.flatMap((_, index) => [
      `echo 0 >&${first + index} || exit ${cannotEnter}`,
      `exec ${first + index}>&-`,
    ]),
    ...request.closes.map((fd) => `exec ${fd}>&-`),
    "ulimit -c 0",
    `ulimit -n ${request.limits.openFiles}`,
    `ulimit -f ${request.limits.fileSizeMb * blocksInMb}`,
    ...(request.limitsProcesses ? [`ulimit ${shell.processLimit} ${request.limits.processes}`] : []),
    'exec "$@"',
  ];
  try {
    const child = spawn("/bin/sh", ["-c", script.join("\n"), "virga", ...request.command], {
      cwd: request.workingDirectory,
      env: { ...request.environment },
      stdio: [...streams, ...entrances],
      // A session of its own: a signal to the group reaches it all, and the terminal's Ctrl-C none of it.
      detached: true,
      ...(request.user === undefined ? {} : { uid: request.user, gid: request.user }),
    });
    await spawned(child);
    return child;
  } finally {
    for (const fd of entrances) closeSync(fd);
  }
}

/** A child of ours as a program's process. */
export function startedProcess(child: ChildProcess): StartedProcess {
  return {
    pid: child.pid!,
    kill: () => void child.kill("SIGKILL"),
    ended: new Promise((resolve) => child.once("exit", (code, signal) => resolve([code, signal]))),
  };
}

export interface Shell {
  /** The option of `ulimit` for processes: dash has `-p`, bash and busybox `-u`. */
  readonly processLimit: "-p" | "-u";
}

/** Looks once what this host's /bin/sh calls things. */
export function findShell(): Shell {
  const takes = (option: string): boolean =>
    /^(\d+|unlimited)\s*$/.test(spawnSync("/bin/sh", ["-c", `ulimit ${option}`], { encoding: "utf8" }).stdout ?? "");
  // In bash `-p` is the size of a pipe: ask for `-u` first.
  return { processLimit: takes("-u") ? "-u" : "-p" };
}

/** Resolves when the process is there. Rejects with `unavailable`. */
export function spawned(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error: NodeJS.ErrnoException) => {
      const full = error.code === "EAGAIN" || error.code === "ENOMEM" || error.code === "EMFILE";
      reject(
        new VirgaError("unavailable", `No process could be started: ${error.message}`, {
          cause: error,
          ...(full
            ? { fix: "The host is out of processes, memory or open files; lower the budget of instances." }
            : {}),
        }),
      );
    });
  });
}

/** POSIX counts in blocks of 512 bytes. */
const blocksInMb = 2048;
/** The shell's exit code when a control group does not let it in: none that programs commonly have. */
const cannotEnter = 125;
