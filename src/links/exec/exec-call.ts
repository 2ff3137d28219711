import { isUtf8 } from "node:buffer";
import { asVirgaError, VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallMeasurement, CallSink } from "../../ports/runtime.ts";
import type { ExitReport, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import { exitError, exitText, ProgramOutput } from "../program-output.ts";

/** What a call asks of its instance. */
export interface Starter {
  start(call: Call): Promise<SandboxedProgram>;
  log(call: Call, text: string): void;
  release(call: ExecCall, used: ProgramUsage | undefined, wasCancelled: boolean): void;
}

/**
 * One call as one process. Its output is held back until it ends, so that an exit code other than 0 becomes an error
 * and not half an answer; past `heldBytes`, or `heldMs` after the first of it, it is streamed.
 */
export class ExecCall implements CallHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly #starter: Starter;
  readonly #call: Call;
  readonly #sink: CallSink;
  readonly #memoryMb: number;
  #program: SandboxedProgram | undefined;
  #contentType: string | undefined;
  /** The request's body until the process is there. */
  #early: Uint8Array[] = [];
  #inputEnds = false;
  #inputBroken = false;
  #held: Buffer[] = [];
  #heldLength = 0;
  #heldTimer: NodeJS.Timeout | undefined;
  #answered = false;
  #settled = false;
  #cancelled = false;
  #outputEnded: Promise<void> | undefined;

  constructor(starter: Starter, call: Call, sink: CallSink, memoryMb: number) {
    this.#starter = starter;
    this.#call = call;
    this.#sink = sink;
    this.#memoryMb = memoryMb;
    if (call.body !== undefined) {
      if (call.body.length > 0) this.#early.push(call.body);
      this.#inputEnds = true;
    }
  }

  get id(): string {
    return this.#call.id;
  }

  /** `contentType` of the answer, where the function's settings name one. */
  run(contentType: string | undefined): void {
    this.#contentType = contentType;
    this.#run().catch((thrown: unknown) => {
      this.#starter.release(this, undefined, this.#cancelled);
      this.#fail(asVirgaError(thrown));
    });
  }

  refuse(error: VirgaError): void {
    queueMicrotask(() => this.#fail(error));
  }

  write(chunk: Uint8Array): boolean {
    if (this.#settled || this.#inputBroken) return true;
    const stdin = this.#program?.stdin;
    if (stdin !== undefined) return stdin.write(chunk);
    this.#early.push(chunk);
    return false;
  }

  end(): void {
    this.#inputEnds = true;
    this.#program?.stdin?.end();
  }

  resume(): void {
    this.#program?.stdout.resume();
  }

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#settled) return;
    this.#cancelled = true;
    this.#fail(
      reason === "timeout"
        ? new VirgaError("timeout", "The program did not end before its deadline and was killed", {
            field: "limits.timeoutMs",
            fix: "Raise limits.timeoutMs, or do less in one call.",
          })
        : new VirgaError("cancelled", "The caller left before the answer was complete"),
    );
    void this.kill();
  }

  async kill(): Promise<void> {
    try {
      await this.#program?.stop(0);
    } catch (thrown) {
      this.#fail(asVirgaError(thrown));
    }
  }

  async usage(): Promise<ProgramUsage | undefined> {
    return this.#program?.usage();
  }

  async #run(): Promise<void> {
    const program = await this.#starter.start(this.#call);
    this.#program = program;
    // The caller may have left while the process was started.
    if (this.#settled) void this.kill();
    const errors = new ProgramOutput(program, ["stderr"], (line) => this.#starter.log(this.#call, line.text));
    this.#readAnswer(program);
    this.#sendBody(program);
    const report = await program.exited;
    await Promise.all([this.#outputEnded, errors.ended]);
    const used = await program.usage();
    this.#starter.release(this, used, this.#cancelled);
    const measured = { cpuMicros: used.cpuMicros, memoryPeakBytes: used.memoryPeakBytes };
    if (report.code === 0 && !report.outOfMemory) this.#finish(measured);
    else this.#fail(this.#failure(report, errors.tail()), measured);
  }

  #sendBody(program: SandboxedProgram): void {
    const stdin = program.stdin!;
    // A program need not read what it is given: the pipe then breaks, and that is no failure of the call.
    stdin.on("error", () => {
      this.#inputBroken = true;
      this.onDrain?.();
    });
    stdin.on("drain", () => this.onDrain?.());
    let more = true;
    for (const chunk of this.#early) more = stdin.write(chunk);
    this.#early = [];
    if (this.#inputEnds) stdin.end();
    else if (more) this.onDrain?.();
  }

  #readAnswer(program: SandboxedProgram): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#outputEnded = promise;
    program.stdout.on("data", (chunk: Buffer) => this.#output(chunk));
    program.stdout.once("end", resolve);
    program.stdout.once("close", resolve);
    // The exit, which follows, says what became of the program.
    program.stdout.once("error", () => resolve());
  }

  #output(chunk: Buffer): void {
    if (this.#settled) return;
    if (this.#answered) {
      this.#deliver(chunk);
      return;
    }
    this.#held.push(chunk);
    this.#heldLength += chunk.length;
    if (this.#heldLength > heldBytes) this.#release();
    else this.#heldTimer ??= setTimeout(() => this.#release(), heldMs);
  }

  /** Sends the head, and what was held back. */
  #release(): void {
    if (this.#answered || this.#settled) return;
    this.#answered = true;
    clearTimeout(this.#heldTimer);
    const held = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held, this.#heldLength);
    this.#held = [];
    const type = this.#contentType ?? (isText(held) ? "text/plain; charset=utf-8" : "application/octet-stream");
    this.#sink.head(200, ["content-type", type]);
    if (held.length > 0) this.#deliver(held);
  }

  #deliver(chunk: Buffer): void {
    if (!this.#sink.data(chunk)) this.#program!.stdout.pause();
  }

  #failure(report: ExitReport, log: string): VirgaError {
    if (report.outOfMemory) return exitError(report, this.#memoryMb, log);
    const last = log.split("\n").at(-1) ?? "";
    return new VirgaError("function_error", `The program ended ${exitText(report)}${last === "" ? "" : `: ${last}`}`, {
      ...(log === "" ? {} : { log }),
      fix: "End with exit code 0 where the call succeeded; stderr has the reason.",
    });
  }

  #finish(measured: CallMeasurement): void {
    this.#release();
    if (this.#settled) return;
    this.#settled = true;
    this.#sink.end(measured);
  }

  #fail(error: VirgaError, measured?: CallMeasurement): void {
    if (this.#settled) return;
    this.#settled = true;
    clearTimeout(this.#heldTimer);
    this.#held = [];
    this.#early = [];
    // What is still to come is read and dropped: a full pipe would keep the program from its end.
    this.#program?.stdout.resume();
    this.#sink.fail(error, measured);
  }
}

/** A cut-off character at the end does not make a text binary. */
function isText(bytes: Buffer): boolean {
  if (bytes.includes(0)) return false;
  for (let cut = 0; cut < 4 && cut <= bytes.length; cut++)
    if (isUtf8(bytes.subarray(0, bytes.length - cut))) return true;
  return false;
}

/** Most programs of this kind answer less than this, and then get the status that they earned. */
const heldBytes = 65_536;
/** A program that still runs this long after its first output wants to be streamed. */
const heldMs = 200;
