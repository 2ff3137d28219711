/** A stage while it is built: its files, and what the instructions so far have said. */
import { symlink } from "node:fs/promises";
import { baseEnvironment, type BaseImage, pythonPackages } from "./base-image.ts";
import { StageTree } from "./stage-tree.ts";
import type { Toolchain } from "./toolchain.ts";
import type { Variables } from "./words.ts";

export class BuildStage {
  readonly tree: StageTree;
  readonly base: BaseImage;
  /** Of its image, and of those that it took a program from. */
  readonly toolchains: Toolchain[];
  readonly environment: Map<string, string>;
  readonly arguments = new Map<string, string>();
  workingDirectory = "/";
  user = "root";
  shell: readonly string[] | undefined;
  entrypoint: readonly string[] | undefined;
  command: readonly string[] | undefined;
  /** `unnamed`: a file of that name which came from nowhere that says which one it is. */
  watchdog: "classic" | "of" | "unnamed" | undefined;

  constructor(root: string, base: BaseImage, toolchains: readonly Toolchain[]) {
    this.tree = new StageTree(root);
    this.base = base;
    this.toolchains = [...toolchains];
    this.environment = new Map(Object.entries(baseEnvironment(base)));
    this.watchdog = base.watchdog;
  }

  /** `ARG` holds for one stage only; all else goes on. */
  inherit(parent: BuildStage): void {
    this.toolchains.splice(0, Infinity, ...parent.toolchains);
    for (const [name, value] of parent.environment) this.environment.set(name, value);
    this.workingDirectory = parent.workingDirectory;
    this.user = parent.user;
    this.shell = parent.shell;
    this.entrypoint = parent.entrypoint;
    this.command = parent.command;
    this.watchdog = parent.watchdog;
  }

  /** The folders that programs look for, and for Python one place for what is installed, whoever installs it. */
  async furnish(): Promise<void> {
    for (const folder of ["/home/app", "/root", "/tmp"]) await this.tree.makeFolder(folder);
    const link = "/root/.local";
    if (this.base.name !== "python" || (await this.tree.stats(link)) !== undefined) return;
    await symlink(pythonPackages, this.tree.hostPath(link));
    await this.tree.adopt(link);
  }

  get variables(): Variables {
    return new Map([...this.arguments, ...this.environment]);
  }
}
