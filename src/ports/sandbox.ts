import type { Affinity } from "../core/affinity.ts";
import type { Network } from "../core/model.ts";
import type { Duplex, Readable, Writable } from "node:stream";

/**
 * What encloses a running program.
 *
 * Promises of an enclosing driver (`enforces` says which of them hold on this host):
 * - The program sees a read-only system (`/usr`, `/bin`, `/lib`, `/etc` without secrets), a private `/tmp` of `tmpMb`,
 *   its own `/proc` and a minimal `/dev`, what `mounts` names, and nothing else of the host.
 * - It cannot see or signal processes outside, gain privileges, or write anywhere but its writable mounts and `/tmp`.
 * - Its memory, CPU, process count, open files and file size stay within `limits`; a breach of memory kills it
 *   with `outOfMemory` in its exit.
 * - When `stop` resolves, or `exited` does, no process of it is left and its private files are gone.
 * - When the platform dies, so does it.
 */
export interface Sandbox {
  readonly name: "bubblewrap" | "process" | "oci";
  /** What holds on this host. Found out by trying, once, before the first `start`. */
  readonly enforces: Enforcement;
  /** Resolves when the program is spawned (not yet ready). Rejects with `unavailable` or `internal`. */
  start(spec: SandboxSpec): Promise<SandboxedProgram>;
  /** A quicker way to start many programs of one kind, with the same promises. Absent where this driver has none. */
  zygote?(spec: ZygoteSpec): Zygote;
  /** Absent where there is only one, or where programs cannot be held to some. */
  readonly processors?: Processors;
  /** Ends all programs and removes what the driver made on the host. */
  close(): Promise<void>;
}

/** The processors that this server and its programs may use, where they are more than one. */
export interface Processors {
  /** Holds the server's main thread to the one where it is, or frees it. Before programs are bound to it. */
  holdServer(isHeld: boolean): void;
  /** In front of a command that the server itself starts: while the server is held, that would be held as well. */
  readonly freeing: readonly string[];
  /** How long the server had something to do since its start. */
  serverActiveMs(): number;
  /** How many there are beside the one that the server may be held to. */
  readonly others: number;
}

export type Guarantee = "enforced" | "watched" | "absent";

/** `watched`: looked at several times a second and killed when over. */
export interface Enforcement {
  readonly memory: Guarantee;
  readonly cpu: Guarantee;
  readonly processes: Guarantee;
  readonly openFiles: Guarantee;
  readonly fileSize: Guarantee;
  readonly tmp: Guarantee;
  readonly filesystem: Guarantee;
  readonly processIsolation: Guarantee;
  readonly networkNone: Guarantee;
  /** `network: own` has ports of its own, and a way out. */
  readonly networkOwn: Guarantee;
  readonly systemCalls: Guarantee;
  readonly ownUser: Guarantee;
  /** For each that is not `enforced`: why, and the command that would make it hold. */
  readonly remarks: readonly { readonly promise: string; readonly why: string; readonly fix: string }[];
}

export interface SandboxSpec {
  /** Short and unique; used for cgroup and folder names: `[a-z0-9-]{1,40}`. */
  readonly id: string;
  /** Program and arguments, as seen from inside. */
  readonly command: readonly string[];
  /** The whole environment; nothing of the platform's own is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly mounts: readonly Mount[];
  readonly network: Network;
  readonly limits: SandboxLimits;
  /**
   * `link`: file descriptor 3 inside is a stream socket whose other end is `SandboxedProgram.link`.
   * `none`: no such descriptor.
   */
  readonly channel: "link" | "none";
  /** `piped` gives `stdin`; `none` is /dev/null. */
  readonly stdin: "piped" | "none";
  /** Nobody waits for it: where processors are short it has a quarter of another's share, until `expose` gives it code. */
  readonly background?: boolean;
}

/** A Python program that is loaded once, and of which each start is an enclosed copy. */
export interface ZygoteSpec {
  /** Python 3.9 or newer. */
  readonly interpreter: string;
  /**
   * Path inside of a Python file. Importing it loads what every copy will need and runs nothing of any function; its `main()`
   * is then called in each copy, as `__main__`. It ends with its link, descriptor 3.
   */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** Read-only, the same for all copies; none of them below `/tmp`, `/dev/shm`, `/proc` or `/code`. */
  readonly mounts: readonly Omit<Mount, "writable">[];
}

/** Begins to load with its first `fork` or `opened`, and again when its process was lost. */
export interface Zygote {
  /** Resolves when copies can be made; rejects with `unavailable` and why not. */
  opened(): Promise<void>;
  /**
   * As `Sandbox.start` with `channel: "link"`, and no standard input. Rejects with `unavailable` at once where no copy can be
   * made at the moment: `Sandbox.start` is the way then.
   */
  fork(spec: Pick<SandboxSpec, "id" | "network" | "limits">): Promise<SandboxedProgram>;
}

export interface SandboxLimits {
  readonly memoryMb: number;
  readonly cpus: number;
  readonly processes: number;
  readonly openFiles: number;
  readonly fileSizeMb: number;
  readonly tmpMb: number;
}

export interface Mount {
  /** Path on the host. */
  readonly source: string;
  /** Path inside. The `process` driver cannot move things: it uses `source` (see `pathOf`). */
  readonly target: string;
  readonly writable: boolean;
}

export interface SandboxedProgram {
  readonly id: string;
  readonly pid: number;
  /** Present with `channel: "link"`. */
  readonly link?: Duplex;
  readonly stdin?: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * Makes a host folder's content visible inside a program that already runs, read-only, and resolves to its path inside.
   * At most once for each program. This is how a prewarmed instance receives its code.
   */
  expose(hostDirectory: string): Promise<string>;
  /** The path inside of a mount's target (`process`: the source itself). */
  pathOf(target: string): string;
  /** Holds its main threads to the server's processor, or frees all of its threads. Absent without control group or `processors`. */
  bindTo?(affinity: Affinity): void;
  /** Counters of the whole program, its children included, since its start. */
  usage(): Promise<ProgramUsage>;
  /** SIGTERM to the program, SIGKILL to all of it after `graceMs` (0: at once). */
  stop(graceMs: number): Promise<ExitReport>;
  readonly exited: Promise<ExitReport>;
}

export interface ProgramUsage {
  readonly cpuMicros: number;
  readonly memoryBytes: number;
  readonly memoryPeakBytes: number;
}

export interface ExitReport {
  readonly code: number | null;
  readonly signal: string | null;
  /** Killed because it was over its memory limit. */
  readonly outOfMemory: boolean;
}
