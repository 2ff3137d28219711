import { VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { ExitReport, Mount, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import { exitError, exitText, ProgramOutput } from "../program-output.ts";
import { ActionLoopCall } from "./actionloop-call.ts";
import { LineReader } from "./line-reader.ts";

/** The program of the loop, as a runtime describes it. */
export interface ActionLoopProgram {
  /** `codeDirectory` is the artifact's path inside the sandbox. */
  command(codeDirectory: string): readonly string[];
  /** Beside the artifact, which is mounted read-only at `/code`. */
  readonly mounts: readonly Mount[];
  /** Beside the function's own, which win. */
  environment(codeDirectory: string): Readonly<Record<string, string>>;
  /** It says `{"ok":true}` on descriptor 3 when it can take calls; other programs are taken for ready at once. */
  readonly acknowledges: boolean;
}

/**
 * A long-lived program that reads a line of JSON for each call on its standard input, and writes a line of JSON with the answer
 * to descriptor 3. What it prints is its log. One call at a time.
 */
export class ActionLoopInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly #exit: (report: ExitReport) => void;
  readonly #request: StartRequest;
  readonly #describe: (code: Specialisation) => ActionLoopProgram;
  #program: SandboxedProgram | undefined;
  #output: ProgramOutput | undefined;
  #answers: LineReader | undefined;
  #running: ActionLoopCall | undefined;
  /** A cancelled call whose answer is still to come. */
  #abandoned: string | undefined;
  #gone: VirgaError | undefined;
  #whenIdle: (() => void) | undefined;
  #billedCpuMicros = 0;

  constructor(request: StartRequest, describe: (code: Specialisation) => ActionLoopProgram) {
    this.id = request.id;
    this.#request = request;
    this.#describe = describe;
    const { promise, resolve } = Promise.withResolvers<ExitReport>();
    this.exited = promise;
    this.#exit = resolve;
  }

  async specialise(code: Specialisation): Promise<void> {
    const { sandbox, network, limits, events } = this.#request;
    const described = this.#describe(code);
    const directory = sandbox.name === "process" ? code.directory : "/code";
    const program = await sandbox.start({
      id: this.id,
      command: described.command(directory),
      environment: {
        ...described.environment(directory),
        ...code.environment,
        ...(described.acknowledges ? { __OW_WAIT_FOR_ACK: "1" } : {}),
      },
      workingDirectory: directory,
      mounts: [{ source: code.directory, target: "/code", writable: false }, ...described.mounts],
      network,
      limits,
      channel: "link",
      stdin: "piped",
    });
    this.#program = program;
    this.#output = new ProgramOutput(program, ["stdout", "stderr"], (line) => events.log(this.#running?.id, line));
    // A program need not read what it is given; its end says why.
    program.stdin!.on("error", () => undefined);
    const acknowledged = Promise.withResolvers<string>();
    let waits = described.acknowledges;
    this.#answers = new LineReader(program.link!, code.config.limits.responseBytes + lineSlack, (line) => {
      if (waits) {
        waits = false;
        acknowledged.resolve(line ?? "");
      } else this.#answered(line);
    });
    void program.exited.then((report) => this.#ended(report));
    if (!described.acknowledges) return;
    await this.#untilAcknowledged(acknowledged.promise, code.config.limits.startTimeoutMs);
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    const running = new ActionLoopCall(this, call, sink);
    this.#running = running;
    if (this.#gone === undefined) running.begin();
    else running.crash(this.#gone);
    return running;
  }

  upgradeAddress(): undefined {
    return undefined;
  }

  async usage(): Promise<ProgramUsage> {
    return this.#program === undefined ? nothing : this.#program.usage();
  }

  async stop(graceMs: number): Promise<ExitReport> {
    const program = this.#program;
    if (program === undefined) {
      this.#exit({ code: 0, signal: null, outOfMemory: false });
      return this.exited;
    }
    const began = performance.now();
    if (this.#running !== undefined && graceMs > 0) await this.#untilIdle(graceMs);
    // The end of its input is the end of the loop.
    program.stdin!.end();
    await program.stop(Math.max(0, Math.min(lastGraceMs, graceMs - (performance.now() - began))));
    return this.exited;
  }

  // For its calls.

  send(line: Uint8Array): void {
    this.#program!.stdin!.write(line);
  }

  /** The call is over for its caller; `isOpen`: its answer is still to come. */
  release(call: ActionLoopCall, isOpen: boolean): void {
    if (this.#running !== call) return;
    this.#running = undefined;
    if (isOpen) this.#abandoned = call.id;
    this.#whenIdle?.();
  }

  async measure(): Promise<{ cpuMicros: number; memoryPeakBytes: number }> {
    const { cpuMicros, memoryPeakBytes } = await this.usage();
    const used = Math.max(0, cpuMicros - this.#billedCpuMicros);
    this.#billedCpuMicros = cpuMicros;
    return { cpuMicros: used, memoryPeakBytes };
  }

  #answered(line: string | undefined): void {
    if (this.#abandoned !== undefined) {
      const abandoned = this.#abandoned;
      this.#abandoned = undefined;
      this.#request.events.acknowledged?.(abandoned);
      return;
    }
    this.#running?.answered(line);
  }

  async #untilAcknowledged(acknowledged: Promise<string>, timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => (timer = setTimeout(() => resolve("late"), timeoutMs)));
    const first = await Promise.race([acknowledged, late, this.exited]);
    clearTimeout(timer);
    if (typeof first === "object") {
      await this.#output!.ended;
      const log = this.#output!.tail();
      throw first.outOfMemory
        ? exitError(first, this.#request.limits.memoryMb, log)
        : new VirgaError(
            "start_failed",
            `The program ended ${exitText(first)} before it could take calls${lastWords(log)}`,
            {
              log,
            },
          );
    }
    if (first !== "late" && /^\s*\{\s*"ok"\s*:\s*true/.test(first)) return;
    await this.#program!.stop(0);
    const log = this.#output!.tail();
    if (first !== "late")
      throw new VirgaError("start_failed", `The program said ${first.slice(0, 200)} in place of {"ok":true}`, { log });
    throw new VirgaError("timeout", `The program could take no calls within ${timeoutMs} ms`, {
      field: "limits.startTimeoutMs",
      log,
    });
  }

  async #ended(report: ExitReport): Promise<void> {
    await this.#output?.ended;
    const error = exitError(report, this.#request.limits.memoryMb, this.#output?.tail() ?? "");
    this.#gone = error;
    this.#running?.crash(error);
    this.#answers?.close();
    this.#exit(report);
  }

  async #untilIdle(graceMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs);
      this.#whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The log's last line, which is mostly the reason. */
function lastWords(log: string): string {
  const last = log.trim().split("\n").at(-1) ?? "";
  return last === "" ? "" : `: ${last}`;
}

const nothing: ProgramUsage = { cpuMicros: 0, memoryBytes: 0, memoryPeakBytes: 0 };
const lastGraceMs = 2000;
/** A line may be a little longer than the answer that it holds. */
const lineSlack = 1024;
