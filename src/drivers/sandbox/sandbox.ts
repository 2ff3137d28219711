import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { VirgaError } from "../../core/errors.ts";
import type { Log } from "../../ports/log.ts";
import type { Sandbox, ZygoteSpec } from "../../ports/sandbox.ts";
import { type Fixtures, openBubblewrap } from "./bubblewrap/driver.ts";
import { findCgroups } from "./cgroup.ts";
import { defaultHostUsers, HostUsers } from "./host-users.ts";
import { findShell } from "./launcher.ts";
import { Pipes } from "./pipes.ts";
import { openProcessSandbox } from "./process/driver.ts";
import { isLeftOver, newServerMark } from "./server-mark.ts";

/** `auto` is bubblewrap where it runs, else `process`. */
export type SandboxChoice = "auto" | "bubblewrap" | "process";

export interface SandboxOptions {
  readonly choice: SandboxChoice;
  readonly stateDirectory: string;
  readonly log: Log;
  /** Folders of the host that programs see too, read-only: tools that lie outside of `/usr`. */
  readonly toolFolders?: readonly string[];
  /** What every enclosed program finds. */
  readonly fixtures?: Fixtures;
  /** Python 3.9 or newer, for what starts programs in this server's stead. */
  readonly python?: string;
}

/** The sandbox of this host. Rejects with `unavailable` where bubblewrap is asked for and cannot run. */
export async function createSandbox({
  choice,
  stateDirectory,
  log,
  toolFolders = [],
  fixtures = {},
  python = "/usr/bin/python3",
}: SandboxOptions): Promise<Sandbox> {
  for (const path of toolFolders) {
    if (!existsSync(path)) {
      throw new VirgaError("invalid_field", `toolFolders: ${path} is not on this host`, {
        field: "toolFolders",
        fix: "Correct the path in the configuration, or take it out.",
      });
    }
  }
  const asRoot = process.getuid?.() === 0;
  mkdirSync(stateDirectory, { recursive: true });
  if (asRoot) checkPassable(stateDirectory);
  const mark = newServerMark();
  const home = prepareHome(stateDirectory, mark);
  const means = {
    pipes: new Pipes(join(home, "pipes")),
    shell: findShell(),
    cgroups: findCgroups(mark),
    users: asRoot ? new HostUsers(defaultHostUsers) : undefined,
  };
  let reason = "it was asked for";
  if (choice !== "process") {
    try {
      return withHome(await openBubblewrap({ ...means, home, toolFolders, fixtures, python, log }), home);
    } catch (error) {
      if (choice === "bubblewrap" || !(error instanceof VirgaError) || error.code !== "unavailable") throw error;
      reason = `${error.message} (${error.detail.fix})`;
    }
  }
  log.warn(
    "the `process` sandbox encloses nothing: functions can read what their user can read, each other's code and the " +
      "network among it. Run only code that you trust",
    { reason },
  );
  return withHome(openProcessSandbox({ ...means, dieWithServer: dieWithServer() }), home);
}

/** util-linux has a program for it, which every Debian has. */
function dieWithServer(): string[] {
  const command = ["setpriv", "--pdeathsig", "KILL", "--"];
  return spawnSync(command[0]!, [...command.slice(1), "true"], { stdio: "ignore" }).status === 0 ? command : [];
}

/** Programs' users reach what is mounted for them by its path on the host. */
function checkPassable(folder: string): void {
  for (let path = folder; path !== dirname(path); path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) {
      throw new VirgaError(
        "unavailable",
        `functions run as users of their own, and those cannot pass through ${path}`,
        {
          fix: `chmod o+x ${path}, or use another folder with --data`,
        },
      );
    }
  }
}

/** This server's folder; removes those of servers that were killed. */
function prepareHome(stateDirectory: string, mark: string): string {
  for (const name of readdirSync(stateDirectory)) {
    if (isLeftOver(name)) rmSync(join(stateDirectory, name), { recursive: true, force: true });
  }
  const home = join(stateDirectory, mark);
  mkdirSync(home);
  // Programs' users pass through to what is mounted for them.
  chmodSync(home, 0o711);
  return home;
}

function withHome(sandbox: Sandbox, home: string): Sandbox {
  return {
    name: sandbox.name,
    enforces: sandbox.enforces,
    start: (spec) => sandbox.start(spec),
    ...(sandbox.processors !== undefined && { processors: sandbox.processors }),
    ...(sandbox.zygote !== undefined && { zygote: (spec: ZygoteSpec) => sandbox.zygote!(spec) }),
    async close() {
      await sandbox.close();
      rmSync(home, { recursive: true, force: true });
    },
  };
}
