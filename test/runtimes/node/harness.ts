import { mkdirSync, mkdtempSync, rmSync, writeFileSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { defaultAsync, defaultLimits, defaultScaling } from "../../../src/core/defaults.ts";
import type { VirgaError } from "../../../src/core/errors.ts";
import type { FunctionConfig, Limits, LogLine } from "../../../src/core/model.ts";
import type { Log } from "../../../src/ports/log.ts";
import type {
  Call,
  CallHandle,
  CallMeasurement,
  CallSink,
  Instance,
  NestedAnswer,
  NestedCall,
  Runtime,
} from "../../../src/ports/runtime.ts";
import type { Sandbox } from "../../../src/ports/sandbox.ts";
import { createNodeRuntime } from "../../../src/runtimes/node/runtime.ts";

export interface HeardLine extends LogLine {
  readonly invocation: string | undefined;
}

/** A runtime with its folders, and the instances that a test starts in a sandbox. */
export class Harness {
  readonly root = mkdtempSync(join(tmpdir(), "virga-node-"));
  readonly runtime: Runtime;
  readonly sandbox: Sandbox;
  readonly logs: HeardLine[] = [];
  readonly acknowledged: string[] = [];
  answerNested: (parent: string, request: NestedCall) => Promise<NestedAnswer> = () =>
    Promise.reject(new Error("no function to call"));
  #instances: Instance[] = [];
  #count = 0;

  constructor(sandbox: Sandbox, toolsDirectory?: string) {
    chmodSync(this.root, 0o755);
    this.sandbox = sandbox;
    this.runtime = createNodeRuntime({ toolsDirectory: toolsDirectory ?? join(this.root, "tools"), log: quietLog });
  }

  /** Writes files into a new folder; gives the folder. */
  folder(files: Readonly<Record<string, string>>): string {
    const directory = join(this.root, `code-${++this.#count}`);
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), text);
    }
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  async blank(limits: Partial<Limits> = {}, runtime = "node"): Promise<Instance> {
    const instance = await this.runtime.start({
      id: `t${process.pid.toString(36)}-${(++this.#count).toString(36)}`,
      runtime,
      sandbox: this.sandbox,
      limits: { ...defaultLimits, ...limits },
      network: "host",
      events: {
        log: (invocation, line) => this.logs.push({ ...line, invocation }),
        acknowledged: (invocation) => this.acknowledged.push(invocation),
        callFunction: (parent, request) => this.answerNested(parent, request),
      },
    });
    this.#instances.push(instance);
    return instance;
  }

  /** An instance that has loaded these files; `handler` names the one to load. */
  async serve(
    files: Readonly<Record<string, string>>,
    options: {
      handler?: string;
      limits?: Partial<Limits>;
      environment?: Record<string, string>;
      config?: Partial<FunctionConfig>;
    } = {},
  ): Promise<Instance> {
    const instance = await this.blank(options.limits, options.config?.runtime);
    const handler = options.handler ?? Object.keys(files)[0]!;
    const directory = this.folder(files);
    await instance.specialise({
      namespace: "tests",
      name: "probe",
      revision: 7,
      directory,
      fileCount: Object.keys(files).length,
      environment: options.environment ?? {},
      config: settings({ handler, limits: { ...defaultLimits, ...options.limits }, ...options.config }),
    });
    return instance;
  }

  async build(
    directory: string,
    config: Partial<FunctionConfig>,
    timeoutMs = 60_000,
    maxBytes = 2 ** 30,
  ): Promise<string[]> {
    const lines: string[] = [];
    const cacheDirectory = join(this.root, "cache");
    mkdirSync(cacheDirectory, { recursive: true });
    await this.runtime.build({
      directory,
      config: settings(config),
      sandbox: this.sandbox,
      cacheDirectory,
      timeoutMs,
      maxBytes,
      onLog: (line) => lines.push(line),
      signal: new AbortController().signal,
    });
    return lines;
  }

  async close(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop(0)));
    await this.sandbox.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

export function settings(config: Partial<FunctionConfig>): FunctionConfig {
  return {
    runtime: "node",
    handler: "index.mjs",
    convention: "native",
    args: [],
    environment: {},
    secrets: [],
    limits: defaultLimits,
    scaling: defaultScaling,
    async: defaultAsync,
    network: "host",
    public: false,
    labels: {},
    annotations: {},
    ...config,
  };
}

/** A call's answer, gathered; `error` where it failed. */
export class Gathered implements CallSink {
  status: number | undefined;
  headers: readonly string[] = [];
  readonly chunks: Uint8Array[] = [];
  error: VirgaError | undefined;
  measured: CallMeasurement | undefined;
  /** Called at each chunk; false pauses. */
  onData: (chunk: Uint8Array) => boolean = () => true;
  ends = 0;
  readonly done: Promise<this>;
  #resolve!: (self: this) => void;
  handle!: CallHandle;

  constructor() {
    this.done = new Promise((resolve) => (this.#resolve = resolve));
  }

  head(status: number, headers: readonly string[]): void {
    this.status = status;
    this.headers = headers;
  }

  data(chunk: Uint8Array): boolean {
    this.chunks.push(chunk);
    return this.onData(chunk);
  }

  end(measured: CallMeasurement): void {
    this.ends += 1;
    this.measured = measured;
    this.#resolve(this);
  }

  fail(error: VirgaError, measured?: CallMeasurement): void {
    this.ends += 1;
    this.error = error;
    this.measured = measured;
    this.#resolve(this);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  header(name: string): string | undefined {
    const at = this.headers.findIndex((value, index) => index % 2 === 0 && value === name);
    return at === -1 ? undefined : this.headers[at + 1];
  }
}

let calls = 0;

export function makeCall(call: Partial<Call> = {}): Call {
  const target = call.target ?? "/";
  return {
    id: `call-${++calls}`,
    method: "GET",
    target,
    url: `http://probe.tests.localhost${target}`,
    headers: [],
    body: new Uint8Array(0),
    deadline: Date.now() + 30_000,
    attempt: 1,
    traceparent: undefined,
    idempotencyKey: undefined,
    ...call,
  };
}

/** Begins a call. */
export function begin(instance: Instance, call: Partial<Call> = {}): Gathered {
  const sink = new Gathered();
  sink.handle = instance.invoke(makeCall(call), sink);
  return sink;
}

/** Makes a call and waits for its end. */
export function invoke(instance: Instance, call: Partial<Call> = {}): Promise<Gathered> {
  return begin(instance, call).done;
}

const quietLog: Log = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  with: () => quietLog,
};
