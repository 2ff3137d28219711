import { VirgaError } from "../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, Specialisation } from "../ports/runtime.ts";
import type { ExitReport, ProgramUsage } from "../ports/sandbox.ts";

/**
 * An instance whose kind is known only when its code is: a blank one that waits, unless the code's convention asks
 * for another (an HTTP server, a process per call), which then takes its place.
 */
export class DeferredInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly #choose: (code: Specialisation) => Instance | undefined;
  readonly #exit: (report: ExitReport) => void;
  #current: Instance | undefined;
  #stopped = false;

  /** `choose` gives undefined where the blank instance itself takes the code; with no blank one it must give one. */
  constructor(id: string, blank: Instance | undefined, choose: (code: Specialisation) => Instance | undefined) {
    this.id = id;
    this.#choose = choose;
    const { promise, resolve } = Promise.withResolvers<ExitReport>();
    this.exited = promise;
    this.#exit = resolve;
    if (blank !== undefined) this.#adopt(blank);
  }

  rehearse(): void {
    this.#current?.rehearse?.();
  }

  async specialise(code: Specialisation): Promise<void> {
    const chosen = this.#choose(code);
    const blank = this.#current;
    if (chosen !== undefined) {
      this.#adopt(chosen);
      // Its end is not this instance's end, nothing here waits for it, and the sandbox ends it at the latest when it closes.
      blank?.stop(0).catch(() => undefined);
    } else if (blank === undefined) {
      throw new VirgaError("start_failed", `No program serves convention \`${code.config.convention}\` here`, {
        field: "convention",
        fix: "Use `native`, `http` or `stdio`, as the runtime allows.",
      });
    }
    await this.#current!.specialise(code);
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    return this.#current!.invoke(call, sink);
  }

  upgradeAddress(): { host: string; port: number } | undefined {
    return this.#current?.upgradeAddress();
  }

  get bindTo(): Instance["bindTo"] {
    return this.#current?.bindTo;
  }

  async usage(): Promise<ProgramUsage> {
    return this.#current === undefined ? { cpuMicros: 0, memoryBytes: 0, memoryPeakBytes: 0 } : this.#current.usage();
  }

  async stop(graceMs: number): Promise<ExitReport> {
    this.#stopped = true;
    if (this.#current === undefined) this.#exit({ code: 0, signal: null, outOfMemory: false });
    else await this.#current.stop(graceMs);
    return this.exited;
  }

  #adopt(instance: Instance): void {
    this.#current = instance;
    void this.#watch(instance);
  }

  async #watch(instance: Instance): Promise<void> {
    const report = await instance.exited;
    if (this.#current === instance || this.#stopped) this.#exit(report);
  }
}
