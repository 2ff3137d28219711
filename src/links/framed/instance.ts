import type { Affinity } from "../../core/affinity.ts";
import { VirgaError, asVirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, InstanceEvents, Specialisation } from "../../ports/runtime.ts";
import type { ExitReport, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import { exitError, ProgramOutput } from "../program-output.ts";
import { FramedLink, type LinkHandlers, createFramedLink } from "./link.ts";

export interface FramedInstanceOptions {
  readonly id: string;
  /** Started with `channel: "link"`; its command runs a guest that speaks docs/link-protocol.md. */
  readonly program: SandboxedProgram;
  readonly events: InstanceEvents;
  /** For the text of the error when it is used up. */
  readonly memoryMb: number;
  /** How long the program may take until its `hello`. */
  readonly startTimeoutMs: number;
  /** For languages with a heap limit of their own: whether these last lines of output say that it was reached. */
  readonly saysOutOfMemory?: (lastLines: string) => boolean;
}

/**
 * Waits until the program has said `hello`, and gives it as a blank instance.
 * Rejects with `start_failed` (with the last lines of its output), `out_of_memory` or `timeout`; the program is gone then.
 */
export async function startFramedInstance(options: FramedInstanceOptions): Promise<FramedInstance> {
  const instance = new FramedInstance(options);
  await instance.greeted;
  return instance;
}

/** An instance whose program speaks the framed link. Shared by the node and the python runtime. */
export class FramedInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly greeted: Promise<void>;
  readonly bindTo: ((affinity: Affinity) => void) | undefined;
  readonly #program: SandboxedProgram;
  readonly #link: FramedLink;
  readonly #output: ProgramOutput;
  readonly #memoryMb: number;
  readonly #saysOutOfMemory: (lastLines: string) => boolean;
  /** The step that is under way before calls can come: `hello`, then `ready`. */
  #step: Step | undefined;
  #specialised = false;
  /** Why the link ended, where that is known before the exit report. */
  #violation: VirgaError | undefined;

  constructor(options: FramedInstanceOptions) {
    const { id, program, events } = options;
    if (program.link === undefined) throw new VirgaError("internal", `Program ${id} was started without a link`);
    this.id = id;
    this.#program = program;
    this.bindTo = program.bindTo;
    this.#memoryMb = options.memoryMb;
    this.#saysOutOfMemory = options.saysOutOfMemory ?? (() => false);
    this.greeted = this.#waitFor("answer", options.startTimeoutMs);
    const handlers: LinkHandlers = {
      hello: () => this.#step?.resolve(),
      ready: () => this.#step?.resolve(),
      failed: ({ message, stack, location }) =>
        this.#step?.reject(new VirgaError("start_failed", message, { stack, location, ...this.#tail() })),
      log: (invocation, line) => events.log(invocation, line),
      acknowledged: (invocation) => events.acknowledged?.(invocation),
      callFunction: (parent, request) => events.callFunction(parent, request),
      closed: (reason) => this.#linkClosed(reason),
    };
    const link = createFramedLink(program.link, handlers);
    this.#link = link;
    // What reaches the pipes did not go through the guest: native code, child processes, the language's own last words.
    this.#output = new ProgramOutput(program, ["stdout", "stderr"], (line) => events.log(link.onlyCall, line));
    this.exited = program.exited.then((report) => this.#ended(report));
  }

  rehearse(): void {
    if (!this.#specialised) this.#link.rehearse();
  }

  async specialise(code: Specialisation): Promise<void> {
    if (this.#specialised) throw new VirgaError("internal", `Instance ${this.id} is bound to a revision already`);
    this.#specialised = true;
    const timeoutMs = code.config.limits.startTimeoutMs;
    const ready = this.#waitFor("load the function's code", timeoutMs);
    try {
      const directory = await this.#program.expose(code.directory);
      this.#link.init({
        directory,
        handler: code.config.handler,
        environment: code.environment,
        namespace: code.namespace,
        function: code.name,
        revision: code.revision,
        concurrency: code.config.limits.concurrency,
        memoryMb: code.config.limits.memoryMb,
      });
      this.#link.writer.flush();
    } catch (thrown) {
      this.#step?.reject(asVirgaError(thrown));
    }
    await ready;
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    return this.#link.invoke(call, sink);
  }

  upgradeAddress(): undefined {
    return undefined;
  }

  usage(): Promise<ProgramUsage> {
    return this.#program.usage();
  }

  async stop(graceMs: number): Promise<ExitReport> {
    if (graceMs > 0 && this.#specialised) {
      this.#link.drain();
      let timer: NodeJS.Timeout | undefined;
      const graceIsOver = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
      });
      await Promise.race([this.exited, graceIsOver]);
      clearTimeout(timer);
    }
    await this.#program.stop(0);
    return this.exited;
  }

  /** Resolves with the guest's next sign of life, or ends the program. Nobody has to listen. */
  #waitFor(what: string, timeoutMs: number): Promise<void> {
    const waiting = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        step.reject(
          new VirgaError("timeout", `The program did not ${what} within ${timeoutMs} ms`, {
            field: "limits.startTimeoutMs",
            fix: "Raise limits.startTimeoutMs, or do less before the first call.",
            ...this.#tail(),
          }),
        );
      }, timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        this.#step = undefined;
      };
      const step: Step = {
        resolve: () => {
          settle();
          resolve();
        },
        reject: (error) => {
          settle();
          reject(error);
          this.#kill();
        },
      };
      this.#step = step;
    });
    waiting.catch(() => undefined); // whoever waits gets it too; a blank instance may die unseen
    return waiting;
  }

  #linkClosed(reason: VirgaError | undefined): void {
    this.#violation = reason;
    // The program cannot be used any more; if it has not ended by itself, its exit tells how a moment later.
    if (reason !== undefined) this.#kill();
    else setTimeout(() => this.#kill(), lastWordsMs).unref();
  }

  #kill(): void {
    this.#program.stop(0).catch((thrown: unknown) => {
      this.#link.failAll(asVirgaError(thrown));
    });
  }

  async #ended(report: ExitReport): Promise<ExitReport> {
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, lastWordsMs);
    });
    await Promise.race([this.#output.ended, enough]);
    clearTimeout(timer);
    const error = this.#explain(report);
    const step = this.#step;
    step?.reject(
      error.code === "function_crashed" ? new VirgaError("start_failed", error.message, error.detail) : error,
    );
    this.#link.failAll(error);
    this.#link.close();
    return report;
  }

  #explain(report: ExitReport): VirgaError {
    const log = this.#output.tail();
    if (!report.outOfMemory && this.#saysOutOfMemory(log)) {
      return exitError({ ...report, outOfMemory: true }, this.#memoryMb, log);
    }
    if (report.outOfMemory || this.#violation === undefined) return exitError(report, this.#memoryMb, log);
    return new VirgaError(this.#violation.code, this.#violation.message, { ...this.#violation.detail, log });
  }

  #tail(): { log?: string } {
    const log = this.#output.tail();
    return log === "" ? {} : { log };
  }
}

interface Step {
  resolve(): void;
  reject(error: VirgaError): void;
}

/** How long a dead program's pipes, or a program without its link, may still tell why. */
const lastWordsMs = 250;
