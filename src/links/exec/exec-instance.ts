import { VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { ExitReport, Mount, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import { ExecCall } from "./exec-call.ts";
import { callEnvironment } from "./call-environment.ts";

/** The program that is run for each call, as a runtime describes it. */
export interface ExecProgram {
  /** `codeDirectory` is the artifact's path inside the sandbox. */
  command(codeDirectory: string): readonly string[];
  /** Beside the artifact, which is mounted read-only at `/code`. */
  readonly mounts: readonly Mount[];
  /** Beside the function's own and the call's; both win. */
  environment(codeDirectory: string): Readonly<Record<string, string>>;
}

/**
 * A process for each call, each in a sandbox of its own: request body on stdin, answer on stdout, log on stderr.
 * Nothing runs between calls; the memory limit is each process's own.
 */
export class ExecInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly #exit: (report: ExitReport) => void;
  readonly #request: StartRequest;
  readonly #describe: (code: Specialisation) => ExecProgram;
  readonly #running = new Set<ExecCall>();
  #code: Specialisation | undefined;
  #program: ExecProgram | undefined;
  #number = 0;
  #stopping = false;
  #whenIdle: (() => void) | undefined;
  /** Of the processes that have ended. */
  #cpuMicros = 0;
  #memoryPeakBytes = 0;

  constructor(request: StartRequest, describe: (code: Specialisation) => ExecProgram) {
    this.id = request.id;
    this.#request = request;
    this.#describe = describe;
    const { promise, resolve } = Promise.withResolvers<ExitReport>();
    this.exited = promise;
    this.#exit = resolve;
  }

  async specialise(code: Specialisation): Promise<void> {
    this.#program = this.#describe(code);
    this.#code = code;
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    const running = new ExecCall(this, call, sink, this.#request.limits.memoryMb);
    if (this.#stopping || this.#code === undefined) {
      running.refuse(new VirgaError("function_crashed", "The instance was stopped before the call reached it"));
      return running;
    }
    this.#running.add(running);
    running.run(this.#code.environment.VIRGA_CONTENT_TYPE);
    return running;
  }

  upgradeAddress(): undefined {
    return undefined;
  }

  async usage(): Promise<ProgramUsage> {
    let cpuMicros = this.#cpuMicros;
    let memoryBytes = 0;
    let memoryPeakBytes = this.#memoryPeakBytes;
    for (const call of this.#running) {
      const used = await call.usage();
      if (used === undefined) continue;
      cpuMicros += used.cpuMicros;
      memoryBytes += used.memoryBytes;
      memoryPeakBytes = Math.max(memoryPeakBytes, used.memoryPeakBytes);
    }
    return { cpuMicros, memoryBytes, memoryPeakBytes };
  }

  async stop(graceMs: number): Promise<ExitReport> {
    this.#stopping = true;
    if (this.#running.size > 0 && graceMs > 0) await this.#untilIdle(graceMs);
    await Promise.all([...this.#running].map((call) => call.kill()));
    if (this.#running.size > 0) await this.#untilIdle(lastWordsMs);
    this.#exit({ code: 0, signal: null, outOfMemory: false });
    return this.exited;
  }

  // For ExecCall.

  async start(call: Call): Promise<SandboxedProgram> {
    const code = this.#code!;
    const program = this.#program!;
    const { sandbox, limits, network } = this.#request;
    const directory = sandbox.name === "process" ? code.directory : "/code";
    this.#number += 1;
    return sandbox.start({
      id: `${this.id.slice(-32)}-${this.#number.toString(36)}`,
      command: program.command(directory),
      environment: { ...program.environment(directory), ...code.environment, ...callEnvironment(code, call) },
      workingDirectory: directory,
      mounts: [{ source: code.directory, target: "/code", writable: false }, ...program.mounts],
      network,
      limits,
      channel: "none",
      stdin: "piped",
    });
  }

  log(call: Call, text: string): void {
    this.#request.events.log(call.id, { at: Date.now(), stream: "stderr", text });
  }

  /** The process is gone. */
  release(call: ExecCall, used: ProgramUsage | undefined, wasCancelled: boolean): void {
    if (used !== undefined) {
      this.#cpuMicros += used.cpuMicros;
      this.#memoryPeakBytes = Math.max(this.#memoryPeakBytes, used.memoryPeakBytes);
    }
    this.#running.delete(call);
    if (wasCancelled) this.#request.events.acknowledged?.(call.id);
    if (this.#running.size === 0) this.#whenIdle?.();
  }

  async #untilIdle(patienceMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, patienceMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Between the end of a killed process and its call's own end: its pipes have to close. */
const lastWordsMs = 1000;
