import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { defaultAsync, defaultLimits, defaultScaling } from "../../../src/core/defaults.ts";
import type { VirgaError } from "../../../src/core/errors.ts";
import type { FunctionConfig, Limits, LogLine } from "../../../src/core/model.ts";
import type { Log } from "../../../src/ports/log.ts";
import type {
  BuildRequest,
  Call,
  CallHandle,
  CallMeasurement,
  Instance,
  NestedAnswer,
  NestedCall,
  Runtime,
} from "../../../src/ports/runtime.ts";
import { openSandbox } from "./sandbox.ts";

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silent };

/** A sandbox, temporary folders, and functions made of literal files; `close` leaves nothing behind. */
export class Bench {
  readonly root = mkdtempSync(join(tmpdir(), "virga-runtime-"));
  readonly sandbox = openSandbox();
  #instances: Instance[] = [];
  #count = 0;

  constructor() {
    // Instances may run as users of their own.
    chmodSync(this.root, 0o755);
  }

  get tools(): string {
    return join(this.root, "tools");
  }

  folder(files: Readonly<Record<string, string | Buffer>>, mode = 0o644): string {
    const directory = join(this.root, `code-${++this.#count}`);
    mkdirSync(directory, { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), content, { mode });
    }
    return directory;
  }

  build(
    runtime: Runtime,
    directory: string,
    config: FunctionConfig,
    changes: Partial<BuildRequest> = {},
  ): Promise<string[]> {
    const cacheDirectory = join(this.root, "cache");
    mkdirSync(cacheDirectory, { recursive: true });
    chmodSync(cacheDirectory, 0o777);
    const lines: string[] = [];
    const request: BuildRequest = {
      directory,
      config,
      sandbox: this.sandbox,
      cacheDirectory,
      timeoutMs: 60_000,
      maxBytes: 256 * 2 ** 20,
      onLog: (line) => lines.push(line),
      signal: new AbortController().signal,
      ...changes,
    };
    return runtime.build(request).then(() => lines);
  }

  async deploy(runtime: Runtime, directory: string, config: FunctionConfig, events: Events = {}): Promise<Running> {
    const running = new Running();
    const instance = await runtime.start({
      id: `t${process.pid}-${++this.#count}`,
      runtime: config.runtime,
      sandbox: this.sandbox,
      limits: config.limits,
      network: config.network,
      events: {
        log: (invocation, line) => running.logs.push({ ...line, invocation }),
        acknowledged: (invocation) => running.onAcknowledged(invocation),
        callFunction: events.callFunction ?? (() => Promise.reject(new Error("no other functions here"))),
      },
    });
    this.#instances.push(instance);
    await instance.specialise({
      namespace: "default",
      name: "subject",
      revision: 3,
      config,
      directory,
      fileCount: 1,
      environment: config.environment,
    });
    running.instance = instance;
    return running;
  }

  async close(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop(0)));
    await this.sandbox.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

export interface Events {
  callFunction?(parent: string, request: NestedCall): Promise<NestedAnswer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
  readonly text: string;
  readonly error: VirgaError | undefined;
  readonly measured: CallMeasurement | undefined;
}

export class Running {
  instance!: Instance;
  readonly logs: (LogLine & { invocation: string | undefined })[] = [];
  onAcknowledged: (invocation: string) => void = () => {};
  #count = 0;

  /** Resolves when so many lines have come; rejects after 10 s. */
  async printed(lines: number): Promise<void> {
    for (let waited = 0; this.logs.length < lines; waited += 5) {
      if (waited > 10_000) throw new Error(`${this.logs.length} of ${lines} lines came`);
      await pause(5);
    }
  }

  /** A call; `body: "stream"` leaves the body to the handle. */
  call(
    changes: Partial<Call> = {},
    streamed = false,
    onChunk?: (chunk: Buffer) => boolean,
  ): Promise<Answer> & { handle: CallHandle } {
    const { promise, resolve } = Promise.withResolvers<Answer>();
    let status = 0;
    let flat: readonly string[] = [];
    const chunks: Buffer[] = [];
    const settle = (error: VirgaError | undefined, measured: CallMeasurement | undefined): void => {
      const headers: Record<string, string> = {};
      for (let index = 0; index < flat.length; index += 2) headers[flat[index]!] = flat[index + 1]!;
      const body = Buffer.concat(chunks);
      resolve({ status, headers, body, text: body.toString(), error, measured });
    };
    const handle = this.instance.invoke(
      {
        id: `call-${++this.#count}`,
        method: "GET",
        target: "/",
        url: "http://host/f/default/subject/",
        headers: [],
        body: streamed ? undefined : new Uint8Array(0),
        deadline: Date.now() + 20_000,
        attempt: 1,
        traceparent: undefined,
        idempotencyKey: undefined,
        ...changes,
      },
      {
        head(given, headers) {
          status = given;
          flat = headers;
        },
        data(chunk) {
          const bytes = Buffer.from(chunk);
          chunks.push(bytes);
          return onChunk === undefined ? true : onChunk(bytes);
        },
        end: (measured) => settle(undefined, measured),
        fail: (error, measured) => settle(error, measured),
      },
    );
    return Object.assign(promise, { handle });
  }
}

export type ConfigChanges = Partial<Omit<FunctionConfig, "limits">> & { readonly limits?: Partial<Limits> };

export function configOf(changes: ConfigChanges = {}): FunctionConfig {
  return {
    runtime: "python",
    handler: "handler.py",
    convention: "native",
    args: [],
    environment: {},
    secrets: [],
    scaling: defaultScaling,
    async: defaultAsync,
    network: "host",
    public: false,
    labels: {},
    annotations: {},
    ...changes,
    limits: { ...defaultLimits, ...changes.limits },
  };
}
