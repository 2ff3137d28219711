import { VirgaError } from "../../../../core/errors.ts";
import type { Log } from "../../../../ports/log.ts";
import type { Mount, SandboxedProgram, SandboxSpec } from "../../../../ports/sandbox.ts";
import { codePath } from "../arguments.ts";
import { identityOf } from "./view-watch.ts";
import type { ForkSpec, Launch } from "./zygote.ts";

/** What starts programs that see the same. */
export interface Launcher {
  fork(spec: ForkSpec, launch: Launch): Promise<SandboxedProgram>;
  retire(): void;
}

/**
 * Starts programs by fork servers, which this process only asks: to start one itself would hold its event loop for as
 * long as its own fork takes. One for each set of mounts that comes again; a few at a time, the one that was asked
 * longest ago makes room.
 */
export class Launchers {
  readonly #open: (mounts: readonly Mount[]) => Launcher;
  readonly #log: Log;
  /** By mounts, the one asked last behind the others. Undefined: seen once. */
  readonly #known = new Map<string, Launcher | undefined>();

  constructor(open: (mounts: readonly Mount[]) => Launcher, log: Log) {
    this.#open = open;
    this.#log = log;
  }

  /** Undefined where bubblewrap has to start it. */
  async start(spec: SandboxSpec): Promise<SandboxedProgram | undefined> {
    if (!canLaunch(spec)) return undefined;
    const launcher = this.#launcherOf(spec.mounts.filter(({ target }) => target !== codePath));
    if (launcher === undefined) return undefined;
    const { channel, command, environment, workingDirectory } = spec;
    try {
      return await launcher.fork(spec, {
        channel,
        code: spec.mounts.find(({ target }) => target === codePath)?.source,
        run: {
          command: command.map((text) => text.toWellFormed()),
          environment: wellFormed(environment),
          directory: workingDirectory,
        },
      });
    } catch (error) {
      if (!(error instanceof VirgaError) || error.code !== "unavailable") throw error;
      this.#log.debug("a program starts without its launcher", { program: spec.id, reason: error.message });
      return undefined;
    }
  }

  #launcherOf(mounts: readonly Mount[]): Launcher | undefined {
    const key = JSON.stringify(mounts.map(({ source, target }) => [target, source, identityOf(source)]));
    const isNew = !this.#known.has(key);
    const launcher = this.#known.get(key) ?? (isNew ? undefined : this.#open(mounts));
    this.#known.delete(key);
    this.#known.set(key, launcher);
    this.#makeRoom();
    return launcher;
  }

  #makeRoom(): void {
    const launchers = [...this.#known].filter(([, launcher]) => launcher !== undefined);
    for (const [key, launcher] of launchers.slice(0, -mostLaunchers)) {
      launcher!.retire();
      this.#known.delete(key);
    }
    for (const key of this.#known.keys()) {
      if (this.#known.size <= mostKnown) break;
      this.#known.get(key)?.retire();
      this.#known.delete(key);
    }
  }
}

function canLaunch({ stdin, network, mounts, workingDirectory, command, environment }: SandboxSpec): boolean {
  return (
    stdin === "none" &&
    network !== "own" &&
    workingDirectory.isWellFormed() &&
    command.length > 0 &&
    Object.keys(environment).every((name) => name !== "" && !name.includes("=")) &&
    mounts.every(
      ({ source, target, writable }) =>
        !writable && isPlain(source) && isPlain(target) && (target === codePath || !isTaken(target)),
    )
  );
}

/** Where each program has what is its own. */
function isTaken(target: string): boolean {
  return ["/tmp", "/dev", "/proc", codePath].some((place) => target === place || target.startsWith(`${place}/`));
}

/** As `_path` in guest/virga_zygote/messages.py takes it. */
function isPlain(path: string): boolean {
  return (
    path.isWellFormed() && /^(\/[^/\0]+)+$/.test(path) && !path.split("/").some((name) => name === "." || name === "..")
  );
}

/** As Node writes it to a process that it starts itself. */
function wellFormed(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name.toWellFormed(), value.toWellFormed()]),
  );
}

const mostLaunchers = 4;
const mostKnown = 64;
