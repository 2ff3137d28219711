import { VirgaError } from "../../../core/errors.ts";
import type { SandboxSpec } from "../../../ports/sandbox.ts";
import type { Cgroup, Cgroups } from "../cgroup.ts";
import type { HostUsers } from "../host-users.ts";
import { givenUser } from "../mount-owners.ts";
import { OutputPipes } from "../output-pipes.ts";
import type { Pipes } from "../pipes.ts";
import { codePath } from "./arguments.ts";
import type { Slot, Slots } from "./slot.ts";

export interface PremisesOptions {
  readonly slots: Slots;
  readonly pipes: Pipes;
  readonly cgroups: Cgroups | undefined;
  readonly users: HostUsers | undefined;
}

/** What one program has on the host before it starts: output pipes, a host user, a slot for its code, a control group. */
export class Premises {
  readonly output: OutputPipes;
  user: number | undefined;
  slot: Slot | undefined;
  cgroup: Cgroup | undefined;
  readonly #undo: (() => void | Promise<void>)[] = [];

  private constructor(pipes: Pipes) {
    this.output = new OutputPipes(pipes);
  }

  /** `ownProcesses`: those that the driver puts around the program, and that its process limit must leave room for. */
  static async take(
    spec: Pick<SandboxSpec, "id" | "mounts" | "channel" | "limits" | "background">,
    { slots, pipes, cgroups, users }: PremisesOptions,
    ownProcesses: number,
  ): Promise<Premises> {
    const premises = new Premises(pipes);
    const undo = premises.#undo;
    try {
      const user = await givenUser(users, spec.mounts);
      if (user !== undefined) undo.push(() => users!.giveBack(user));
      premises.user = user;
      if (spec.channel === "link" && !spec.mounts.some(({ target }) => target === codePath)) {
        const slot = slots.take();
        undo.push(() => slots.giveBack(slot));
        premises.slot = slot;
      }
      const limits = { ...spec.limits, processes: spec.limits.processes + ownProcesses };
      const cgroup = await cgroups?.create(spec.id, limits, spec.background);
      if (cgroup !== undefined) undo.push(() => cgroup.remove());
      premises.cgroup = cgroup;
      return premises;
    } catch (error) {
      await premises.abandon();
      throw error;
    }
  }

  expose(directory: string): Promise<string> {
    if (this.slot === undefined)
      throw new VirgaError("internal", "the program was started with its code; it can be shown no other");
    // Not at once: the kernel takes its time, and somebody waits for the program.
    setTimeout(() => this.cgroup?.toForeground(), foregroundDelayMs);
    return this.slot.fill(directory).then(() => codePath);
  }

  /** Gives all back, when no process is left. */
  async release(): Promise<void> {
    for (const step of this.#undo.toReversed()) await step();
  }

  /** Where no program came about. */
  async abandon(): Promise<void> {
    this.output.destroy();
    this.output.closeTheirs();
    await this.release();
  }
}

const foregroundDelayMs = 5;
