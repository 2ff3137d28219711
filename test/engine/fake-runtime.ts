import { VirgaError } from "../../src/core/errors.ts";
import type {
  Call,
  CallHandle,
  CallSink,
  Instance,
  Runtime,
  Specialisation,
  StartRequest,
} from "../../src/ports/runtime.ts";
import type { ExitReport, ProgramUsage } from "../../src/ports/sandbox.ts";
import type { ManualClock } from "./manual-clock.ts";

/** A runtime whose programs do what the test says. */
export class FakeRuntime implements Runtime {
  readonly name: string = "fake";
  readonly prewarm = true;
  readonly instances: FakeInstance[] = [];
  /** What the next starts and loads do. */
  startMs = 0;
  initMs = 0;
  failLoad: VirgaError | undefined;
  failStart: VirgaError | undefined;
  starts = 0;
  acknowledges = true;
  /** Called for each call that reaches an instance. */
  onCall: ((running: FakeCall) => void) | undefined;
  readonly clock: ManualClock;

  constructor(clock: ManualClock) {
    this.clock = clock;
  }

  versions(): Promise<readonly string[]> {
    return Promise.resolve(["1"]);
  }

  detect(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  build(): Promise<void> {
    return Promise.resolve();
  }

  fingerprint(): Promise<string> {
    return Promise.resolve("fake");
  }

  async start(request: StartRequest): Promise<Instance> {
    this.starts++;
    if (this.startMs > 0) await passed(this.clock, this.startMs);
    if (this.failStart !== undefined) throw this.failStart;
    const instance = new FakeInstance(this, request);
    this.instances.push(instance);
    return instance;
  }

  /** Those that live. */
  get alive(): FakeInstance[] {
    return this.instances.filter((instance) => instance.exit === undefined);
  }

  get running(): FakeCall[] {
    return this.alive.flatMap((instance) => [...instance.calls.values()]);
  }
}

export class FakeInstance implements Instance {
  readonly id: string;
  readonly exited: Promise<ExitReport>;
  readonly runtime: FakeRuntime;
  readonly request: StartRequest;
  code: Specialisation | undefined;
  exit: ExitReport | undefined;
  /** What its program works on, cancelled calls included until they are acknowledged. */
  readonly calls = new Map<string, FakeCall>();
  served = 0;
  mostAtOnce = 0;
  cpuMicros = 0;
  #exit: (report: ExitReport) => void;

  constructor(runtime: FakeRuntime, request: StartRequest) {
    this.id = request.id;
    this.runtime = runtime;
    this.request = request;
    const { promise, resolve } = Promise.withResolvers<ExitReport>();
    this.exited = promise;
    this.#exit = resolve;
  }

  async specialise(code: Specialisation): Promise<void> {
    if (this.code !== undefined) throw new Error("specialised twice");
    this.code = code;
    if (this.runtime.initMs > 0) await passed(this.runtime.clock, this.runtime.initMs);
    if (this.runtime.failLoad !== undefined) throw this.runtime.failLoad;
  }

  invoke(call: Call, sink: CallSink): CallHandle {
    if (this.code === undefined) throw new Error("called before it was specialised");
    const running = new FakeCall(this, call, sink);
    if (this.exit !== undefined) {
      running.fail(new VirgaError("function_crashed", "called after it had ended"));
      return running;
    }
    this.calls.set(call.id, running);
    this.served++;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.calls.size);
    this.runtime.onCall?.(running);
    return running;
  }

  upgradeAddress(): { host: string; port: number } | undefined {
    return this.code?.config.convention === "http" ? { host: "127.0.0.1", port: 1 } : undefined;
  }

  usage(): Promise<ProgramUsage> {
    if (this.exit !== undefined) return Promise.reject(new Error("gone"));
    return Promise.resolve({ cpuMicros: this.cpuMicros, memoryBytes: 1, memoryPeakBytes: 7 });
  }

  stop(): Promise<ExitReport> {
    this.end({ code: null, signal: "SIGKILL", outOfMemory: false });
    return this.exited;
  }

  crash(outOfMemory = false): void {
    this.end({ code: null, signal: "SIGSEGV", outOfMemory });
  }

  end(report: ExitReport): void {
    if (this.exit !== undefined) return;
    this.exit = report;
    const code = report.outOfMemory ? "out_of_memory" : "function_crashed";
    for (const running of this.calls.values()) running.fail(new VirgaError(code, "the program ended"));
    this.calls.clear();
    this.#exit(report);
  }
}

export class FakeCall implements CallHandle {
  onDrain: (() => void) | undefined = undefined;
  readonly instance: FakeInstance;
  readonly call: Call;
  readonly sink: CallSink;
  readonly received: Uint8Array[] = [];
  bodyEnded = false;
  cancelled: string | undefined;
  #settled = false;

  constructor(instance: FakeInstance, call: Call, sink: CallSink) {
    this.instance = instance;
    this.call = call;
    this.sink = sink;
  }

  answer(status = 200, body = "ok"): void {
    if (this.#settled) throw new Error("answered twice");
    this.sink.head(status, ["content-type", "text/plain"]);
    // The head may have been all that it took.
    if (this.#over()) return;
    this.sink.data(Buffer.from(body));
    if (this.#over()) return;
    this.#settle();
    this.sink.end({ cpuMicros: 1000, memoryPeakBytes: 2048 });
  }

  log(text: string): void {
    this.instance.request.events.log(this.call.id, { at: this.instance.runtime.clock.now(), stream: "stdout", text });
  }

  fail(error: VirgaError): void {
    if (this.#settled) return;
    this.#settle();
    this.sink.fail(error);
  }

  /** The program comes to the end of a cancelled call. */
  acknowledge(): void {
    this.instance.calls.delete(this.call.id);
    this.instance.request.events.acknowledged?.(this.call.id);
  }

  write(chunk: Uint8Array): boolean {
    this.received.push(chunk);
    return true;
  }

  end(): void {
    this.bodyEnded = true;
  }

  resume(): void {}

  cancel(reason: "cancelled" | "timeout"): void {
    if (this.#settled) return;
    this.#settled = true;
    this.cancelled = reason;
    this.sink.fail(new VirgaError(reason, "cut off"));
    if (reason === "cancelled" && this.instance.runtime.acknowledges) this.acknowledge();
  }

  #over(): boolean {
    return this.#settled;
  }

  #settle(): void {
    this.#settled = true;
    this.instance.calls.delete(this.call.id);
  }
}

function passed(clock: ManualClock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}
