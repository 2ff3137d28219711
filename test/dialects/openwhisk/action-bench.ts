import { chmodSync, mkdirSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { ZipFile } from "yazl";
import type { Json } from "../../../src/core/workflow/definition.ts";
import type { CodeExec } from "../../../src/dialects/openwhisk/entities.ts";
import type { StoredAction } from "../../../src/dialects/openwhisk/entity-store.ts";
import { node } from "../../../src/dialects/openwhisk/languages/node.ts";
import { archiveOf, type Projection, projectionOf } from "../../../src/dialects/openwhisk/projection.ts";
import {
  listOf,
  listType,
  objectOf,
  objectType,
  type Run,
  Standing,
} from "../../../src/dialects/openwhisk/run-body.ts";
import { openFileArtifacts } from "../../../src/drivers/artifacts/files/artifacts.ts";
import { systemChance, systemClock } from "../../../src/drivers/host/clock.ts";
import { createMemoryStore } from "../../../src/drivers/store/memory/store.ts";
import { completeSettings } from "../../../src/engine/settings.ts";
import type { Artifacts } from "../../../src/ports/artifacts.ts";
import type { Blobs } from "../../../src/ports/blobs.ts";
import type { Instance, Runtime } from "../../../src/ports/runtime.ts";
import { createNodeRuntime } from "../../../src/runtimes/node/runtime.ts";
import { createPythonRuntime } from "../../../src/runtimes/python/runtime.ts";
import { openSandbox } from "../../drivers/sandbox/open.ts";
import { removeTree } from "../../removal.ts";
import { Running, silent as log } from "../../runtimes/python/function.ts";
import { missingTools } from "../../tools.ts";

export interface Ran {
  readonly status: number;
  readonly value: Json;
  /** Why the platform has no answer. */
  readonly error: string | undefined;
}

/** Actions as the dialect projects them, built and started by the real runtimes in a real sandbox. */
export class ActionBench {
  readonly #root = mkdtempSync(join(tmpdir(), "virga-openwhisk-"));
  readonly #instances: Instance[] = [];
  #opened: ReturnType<typeof open> | undefined;
  #count = 0;

  async start(action: StoredAction, code: Uint8Array | string): Promise<StartedAction> {
    const { artifacts, blobs, runtimes, sandbox } = await (this.#opened ??= open(this.#root));
    const projection = await projectionOf(action, typeof code === "string" ? Buffer.from(code) : code);
    const config = completeSettings(projection.settings, { runtime: "?", handler: "?", convention: "?" });
    const runtime = runtimes.get(config.runtime)!;
    const directory = await unpacked(projection, artifacts, blobs);
    const cacheDirectory = join(this.#root, "cache");
    mkdirSync(cacheDirectory, { recursive: true });
    chmodSync(cacheDirectory, 0o777);
    const lines: string[] = [];
    await runtime.build({
      directory,
      config,
      sandbox: sandbox.sandbox,
      cacheDirectory,
      timeoutMs: 60_000,
      maxBytes: 256 * 2 ** 20,
      onLog: (line) => lines.push(line),
      signal: new AbortController().signal,
    });
    const sealed = await artifacts.seal(directory);
    const started = new StartedAction(config.handler === node.handler);
    const instance = await runtime.start({
      id: `ow${process.pid}-${++this.#count}`,
      runtime: config.runtime,
      sandbox: sandbox.sandbox,
      limits: config.limits,
      network: config.network,
      events: {
        log: (invocation, line) => started.running.logs.push({ ...line, invocation }),
        acknowledged: () => {},
        callFunction: () => Promise.reject(new Error("no other functions here")),
      },
    });
    this.#instances.push(instance);
    await instance.specialise({
      namespace: "guest",
      name: action.name,
      revision: 1,
      config,
      directory: await artifacts.locate(sealed.digest),
      fileCount: sealed.fileCount,
      environment: config.environment,
    });
    started.running.instance = instance;
    return started;
  }

  async close(): Promise<void> {
    await Promise.all(this.#instances.map((instance) => instance.stop(0)));
    if (this.#opened !== undefined) await (await this.#opened).sandbox.close();
    removeTree(this.#root);
  }
}

type About = Partial<Run> & { readonly apiHost?: string | undefined; readonly apiKey?: string };

export class StartedAction {
  readonly running = new Running();
  readonly #takesList: boolean;

  constructor(takesList: boolean) {
    this.#takesList = takesList;
  }

  /** A call as the call adapter makes it. */
  async run(value: Json = {}, { apiHost, apiKey, ...about }: About = {}): Promise<Ran> {
    const run: Run = {
      value: JSON.stringify(value),
      activation: "0123456789abcdef0123456789abcdef",
      transaction: "transaction",
      deadline: Date.now() + 20_000,
      env: undefined,
      standing: new Standing("guest", "/guest/subject", "0.0.1", apiHost, apiKey),
      ...about,
    };
    const { status, text, error } = await this.running.call({
      method: "POST",
      headers: ["content-type", this.#takesList ? listType : objectType],
      body: Buffer.from(this.#takesList ? listOf(run) : objectOf(run)),
      bodySuffices: this.#takesList,
    });
    return { status, value: text === "" ? null : (JSON.parse(text) as Json), error: error?.code };
  }

  get lines(): string[] {
    return this.running.logs.map(({ stream, text }) => `${stream}: ${text}`);
  }
}

export function actionOf(
  kind: string,
  exec: Partial<CodeExec> = {},
  changes: Partial<StoredAction> = {},
): StoredAction {
  return {
    namespace: "guest",
    name: "subject",
    version: "0.0.1",
    publish: false,
    annotations: [],
    updated: 0,
    parameters: [],
    limits: { timeout: 20_000, memory: 256, logs: 10, concurrency: 1 },
    exec: { kind, binary: false, ...exec },
    ...changes,
  };
}

export function zipOf(files: Readonly<Record<string, string>>): Promise<Uint8Array> {
  const zip = new ZipFile();
  for (const [path, text] of Object.entries(files)) zip.addBuffer(Buffer.from(text), path);
  zip.end();
  return buffer(zip.outputStream);
}

async function unpacked({ source, layer }: Projection, artifacts: Artifacts, blobs: Blobs): Promise<string> {
  const limits = { maxBytes: 256 * 2 ** 20, maxFiles: 10_000 };
  const keep = async (bytes: Uint8Array): Promise<string> => {
    const { digest } = await blobs.put(
      (async function* () {
        yield bytes;
      })(),
    );
    return digest;
  };
  const archive = "archive" in source ? source.archive : await archiveOf(source.files);
  const directory = await artifacts.unpack(await keep(archive), limits);
  await artifacts.lay(await keep(await archiveOf(layer)), directory, limits);
  return directory;
}

async function open(root: string) {
  // Instances' users pass through.
  chmodSync(root, 0o711);
  const toolsDirectory = join(root, "tools");
  mkdirSync(toolsDirectory, { mode: 0o755 });
  const { blobs } = createMemoryStore({ clock: systemClock, chance: systemChance });
  return {
    blobs,
    artifacts: await openFileArtifacts({ directory: join(root, "artifacts"), blobs, clock: systemClock }),
    sandbox: await openSandbox(missingTools("bwrap") === false ? "bubblewrap" : "process"),
    runtimes: new Map<string, Runtime>([
      ["node", createNodeRuntime({ toolsDirectory, log })],
      ["python", createPythonRuntime({ toolsDirectory, log })],
    ]),
  };
}
