import { Agent } from "node:http";
import { VirgaError } from "../../core/errors.ts";
import type { Call, CallHandle, CallSink, Instance, Specialisation, StartRequest } from "../../ports/runtime.ts";
import type { ExitReport, Mount, ProgramUsage, SandboxedProgram } from "../../ports/sandbox.ts";
import { exitError, exitText, ProgramOutput } from "../program-output.ts";
import { HttpCall } from "./http-call.ts";
import { acceptingHost, givePortBack, takePort } from "./port.ts";

/** The program that is the HTTP server, as a runtime describes it. */
export interface HttpProgram {
  /** `codeDirectory` is the artifact's path inside the sandbox. */
  command(codeDirectory: string): readonly string[];
  /** Beside the artifact, which is mounted read-only at `/code`. */
  readonly mounts: readonly Mount[];
  /** Beside the function's own and `PORT`, `HOST`; the function's own win. */
  environment(codeDirectory: string): Readonly<Record<string, string>>;
}

/**
 * A program that is an HTTP server on `$PORT`, started when its code is known.
 * It is ready when it accepts a connection; calls are proxied over kept-alive connections, both bodies streaming.
 * A line that it prints belongs to the call that runs, where exactly one does.
 */
export class HttpInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly #exit: (report: ExitReport) => void;
  readonly #request: StartRequest;
  readonly #describe: (code: Specialisation) => HttpProgram;
  readonly #running = new Set<HttpCall>();
  readonly #agent = new Agent({ keepAlive: true, timeout: idleConnectionMs });
  #program: SandboxedProgram | undefined;
  #output: ProgramOutput | undefined;
  #gone: VirgaError | undefined;
  #host = "127.0.0.1";
  #port = 0;
  #stopping = false;
  #whenIdle: (() => void) | undefined;
  #billedCpuMicros = 0;

  constructor(request: StartRequest, describe: (code: Specialisation) => HttpProgram) {
    this.id = request.id;
    this.#request = request;
    this.#describe = describe;
    const { promise, resolve } = Promise.withResolvers<ExitReport>();
    this.exited = promise;
    this.#exit = resolve;
  }

  async specialise(code: Specialisation): Promise<void> {
    if (this.#request.network !== "host") {
      throw new VirgaError(
        "start_failed",
        `A server on $PORT cannot be reached with network \`${this.#request.network}\``,
        {
          field: "network",
          fix: "Set network to `host`, or answer calls through the `native` or the `stdio` convention.",
        },
      );
    }
    const giveUpAt = performance.now() + code.config.limits.startTimeoutMs;
    for (let attempt = 1; ; attempt++) {
      const output = await this.#start(code);
      const report = await this.#untilAccepting(giveUpAt);
      if (report === undefined) return;
      await output.ended;
      const log = output.tail();
      // Between our look at the port and the program's, somebody else may have taken it.
      if (attempt < portAttempts && /EADDRINUSE|address already in use/i.test(log)) continue;
      this.#exit(report);
      throw report.outOfMemory
        ? exitError(report, code.config.limits.memoryMb, log)
        : new VirgaError("start_failed", `The server ended ${exitText(report)} before it listened on $PORT`, {
            log,
            fix: "Start an HTTP server on the port in the environment variable PORT and keep it running.",
          });
    }
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    const running = new HttpCall(this, call, sink);
    this.#running.add(running);
    if (this.#gone === undefined) running.start(this.#host, this.#port, this.#agent);
    else running.crash(this.#gone);
    return running;
  }

  upgradeAddress(): { host: string; port: number } | undefined {
    return this.#program === undefined || this.#gone !== undefined ? undefined : { host: this.#host, port: this.#port };
  }

  async usage(): Promise<ProgramUsage> {
    return this.#program === undefined ? nothing : this.#program.usage();
  }

  async stop(graceMs: number): Promise<ExitReport> {
    this.#stopping = true;
    const program = this.#program;
    if (program === undefined) {
      this.#exit({ code: 0, signal: null, outOfMemory: false });
      return this.exited;
    }
    const began = performance.now();
    if (this.#running.size > 0 && graceMs > 0) await this.#untilIdle(graceMs);
    await program.stop(Math.max(0, Math.min(lastGraceMs, graceMs - (performance.now() - began))));
    return this.exited;
  }

  // For HttpCall.

  /** The call is over, one way or the other. */
  release(call: HttpCall): void {
    this.#running.delete(call);
    if (this.#running.size === 0) this.#whenIdle?.();
  }

  /**
   * What a call used. A server does not say which call its CPU time went to: calls that run side by side share
   * what was used since the last one ended, so that the sum over all calls is what the program used.
   */
  async measure(): Promise<{ cpuMicros: number; memoryPeakBytes: number }> {
    const sharers = Math.max(1, this.#running.size);
    const { cpuMicros, memoryPeakBytes } = await this.usage();
    const used = Math.max(0, cpuMicros - this.#billedCpuMicros);
    const share = Math.round(used / sharers);
    this.#billedCpuMicros += share;
    return { cpuMicros: share, memoryPeakBytes };
  }

  /** A connection broke: the program's end, where it comes within a moment, else undefined. */
  async crashBehind(): Promise<VirgaError | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, crashNoticeMs)));
    await Promise.race([this.exited, patience]);
    clearTimeout(timer);
    return this.#gone;
  }

  async #start(code: Specialisation): Promise<ProgramOutput> {
    const { sandbox } = this.#request;
    const program = this.#describe(code);
    const directory = sandbox.name === "process" ? code.directory : "/code";
    const port = await takePort();
    this.#port = port;
    let started: SandboxedProgram;
    try {
      started = await sandbox.start({
        id: this.id,
        command: program.command(directory),
        environment: {
          ...program.environment(directory),
          HOST: "127.0.0.1",
          ...code.environment,
          PORT: String(port),
        },
        workingDirectory: directory,
        mounts: [{ source: code.directory, target: "/code", writable: false }, ...program.mounts],
        network: this.#request.network,
        limits: this.#request.limits,
        channel: "none",
        stdin: "none",
      });
    } catch (error) {
      givePortBack(port);
      throw error;
    }
    this.#program = started;
    const output = new ProgramOutput(started, ["stdout", "stderr"], (line) => {
      this.#request.events.log(this.#only()?.id, line);
    });
    this.#output = output;
    void started.exited.then(() => givePortBack(port));
    return output;
  }

  /** Resolves to undefined when the server accepts, to its exit where that comes first. */
  async #untilAccepting(giveUpAt: number): Promise<ExitReport | undefined> {
    const program = this.#program!;
    let exit: ExitReport | undefined;
    void program.exited.then((report) => (exit = report));
    for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
      const host = await acceptingHost(this.#port);
      if (exit !== undefined) return exit;
      if (host !== undefined) {
        this.#host = host;
        void program.exited.then((report) => this.#crashed(report));
        return undefined;
      }
      if (performance.now() >= giveUpAt) {
        const report = await program.stop(0);
        this.#exit(report);
        const { startTimeoutMs } = this.#request.limits;
        throw new VirgaError(
          "timeout",
          `The program did not listen on port ${this.#port} within ${startTimeoutMs} ms`,
          {
            field: "limits.startTimeoutMs",
            log: this.#output?.tail() ?? "",
            fix: "Listen on the port in the environment variable PORT, on 127.0.0.1 or all addresses, or raise limits.startTimeoutMs.",
          },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  #crashed(report: ExitReport): void {
    const { memoryMb } = this.#request.limits;
    const error = exitError(report, memoryMb, this.#output?.tail() ?? "");
    this.#gone = error;
    for (const call of this.#running) call.crash(error);
    this.#exit(report);
  }

  /** The running call, where there is exactly one. */
  #only(): HttpCall | undefined {
    if (this.#running.size !== 1) return undefined;
    const [call] = this.#running;
    return call;
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

  get stopping(): boolean {
    return this.#stopping;
  }
}

const nothing: ProgramUsage = { cpuMicros: 0, memoryBytes: 0, memoryPeakBytes: 0 };
/** We close an idle connection before the servers that are in use do (gunicorn after 2 s, Node.js after 5 s): no call meets a closing one. */
const idleConnectionMs = 1000;
const portAttempts = 3;
/** The longest look-again pause while a server starts: what a cold start may lose. */
const longestPauseMs = 25;
/** How long a broken connection waits for the news that its program has ended. */
const crashNoticeMs = 250;
/** What a server that got SIGTERM has to close its files, out of the grace. */
const lastGraceMs = 2000;
