/**
 * The composition root: the only file that names drivers, runtimes and dialects together.
 * `startPlatform` puts a whole platform of one process together and starts it.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readConfiguration, type Configuration } from "./configuration.ts";
import { VirgaError } from "./core/errors.ts";
import { openFileArtifacts } from "./drivers/artifacts/files/artifacts.ts";
import { openFileBlobs } from "./drivers/blobs/files/blobs.ts";
import { systemChance, systemClock } from "./drivers/host/clock.ts";
import { createLog, type LogOptions } from "./drivers/host/log.ts";
import { createSandbox, type SandboxChoice } from "./drivers/sandbox/sandbox.ts";
import { probePromises } from "./drivers/sandbox/probe.ts";
import { openSqliteStore } from "./drivers/store/sqlite/store.ts";
import { openBuildKey } from "./dialects/openfaas/build-secrets.ts";
import { createOpenFaas } from "./dialects/openfaas/dialect.ts";
import { gatewaySocket, openfaasFixtures } from "./dialects/openfaas/fixtures.ts";
import { keptSecret } from "./dialects/openfaas/kept-secret.ts";
import { createOpenWhisk } from "./dialects/openwhisk/dialect.ts";
import { userEndpoints } from "./dialects/openwhisk/user-api.ts";
import { createAccess } from "./engine/access.ts";
import { createDeployer } from "./engine/deployer.ts";
import { createDispatcher } from "./engine/dispatcher.ts";
import type { Access, Engine } from "./engine/engine.ts";
import { createEvents, type EventsEngine } from "./engine/events.ts";
import { createFunctions } from "./engine/functions.ts";
import { createHistory } from "./engine/history.ts";
import { createIdentifier } from "./engine/identifier.ts";
import { createInvoker, type EngineInvoker } from "./engine/invoker.ts";
import { createPool, type Pool } from "./engine/pool.ts";
import { createRoutes } from "./engine/routes.ts";
import { createSecrets } from "./engine/secrets.ts";
import { startSweeper } from "./engine/sweeper.ts";
import { createUsage } from "./engine/usage.ts";
import { sweepValues } from "./engine/value-sweep.ts";
import { createWorkflows, type EngineWorkflows } from "./engine/workflows.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { type Listener, openListener } from "./gateway/listener.ts";
import { ledgerSource, type Metering, meterHistory } from "./gateway/metered-history.ts";
import type { Blobs } from "./ports/blobs.ts";
import type { Log } from "./ports/log.ts";
import type { Runtime } from "./ports/runtime.ts";
import type { Sandbox } from "./ports/sandbox.ts";
import { createBinaryRuntime } from "./runtimes/binary/runtime.ts";
import { createGoRuntime } from "./runtimes/go/runtime.ts";
import { createJavaRuntime } from "./runtimes/java/runtime.ts";
import { createNodeRuntime } from "./runtimes/node/runtime.ts";
import { createPhpRuntime } from "./runtimes/php/runtime.ts";
import { createPythonRuntime } from "./runtimes/python/runtime.ts";
import { createRubyRuntime } from "./runtimes/ruby/runtime.ts";
import { createRustRuntime } from "./runtimes/rust/runtime.ts";
import { createMetrics } from "./telemetry/metrics.ts";

export interface PlatformOptions {
  readonly dataDirectory: string;
  /** Where `credentials.json` is written for the CLI. */
  readonly configDirectory: string;
  readonly host: string;
  /** 0 is any free port. */
  readonly port: number;
  readonly sandbox: SandboxChoice;
  readonly logLevel: string;
  readonly configFile?: string;
  /** Where OpenWhisk's clients are served; 0 is any free port. Absent: the configuration says. */
  readonly openwhiskPort?: number;
  /** As `openwhiskPort`, for OpenFaaS's. */
  readonly openfaasPort?: number;
  /** For the bench that prices metering. `uncounted`: calls have records and nobody adds them up; `unrecorded`: nor records. */
  readonly metering?: Metering;
}

/** A peer's language and where it is spoken. */
export interface OpenDialect {
  readonly name: string;
  /** Absent where its port could not be had; then `problem` says why. */
  readonly url?: string;
  readonly problem?: string;
  /** What a client of it has to be told, such as `uuid:key`. */
  readonly credential?: string;
  /** Files for its clients, by what they are. */
  readonly files?: Readonly<Record<string, string>>;
}

export interface Platform {
  readonly url: string;
  /** Holds the address and the administrator's token. */
  readonly tokenFile: string;
  readonly adminToken: string;
  readonly sandbox: Sandbox;
  readonly engine: Engine;
  readonly dialects: readonly OpenDialect[];
  /** Refuses what is new, lets what runs end for up to 10 s, and writes what is left. */
  close(): Promise<void>;
}

const drainMs = 10_000;
const maxHeaderBytes = 64 * 1024;
/** How long a request's head and a small body may take to arrive. */
const requestTimeoutMs = 30_000;

export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const opened: (() => unknown)[] = [];
  try {
    return await putTogether(options, opened);
  } catch (thrown) {
    // What is open keeps the process alive, and its data folder from others.
    for (const close of opened.toReversed()) await closed(close);
    throw thrown;
  }
}

/** Why the start failed is what is told. */
async function closed(close: () => unknown): Promise<void> {
  try {
    await close();
  } catch {
    // Half of it may never have been open.
  }
}

/** `opened` is told how to close what has been opened so far. */
async function putTogether(options: PlatformOptions, opened: (() => unknown)[]): Promise<Platform> {
  const startedAt = systemClock.now();
  const configuration = readConfiguration(options.configFile);
  const log = createLog({ level: readLevel(options.logLevel), pretty: process.stderr.isTTY });
  const folder = prepareFolders(options.dataDirectory);

  const clock = systemClock;
  const chance = systemChance;
  const identify = createIdentifier(clock, chance);
  const store = openSqliteStore({ file: join(folder.data, "store.sqlite"), clock, chance });
  opened.push(() => store.close());
  const { records, journal, queue } = store;
  const sockets = socketFolder(folder.data);
  opened.push(() => sockets.remove());
  const [blobs, ownValues, sandbox] = await Promise.all([
    openFileBlobs({ directory: folder.blobs, clock }),
    openFileBlobs({ directory: folder.values, clock }),
    createSandbox({
      choice: options.sandbox,
      stateDirectory: folder.instances,
      log,
      toolFolders: configuration.toolFolders,
      fixtures: configuration.openfaas.enabled ? openfaasFixtures(sockets.folder) : {},
    }),
  ]);
  opened.push(() => sandbox.close());
  const values = withEarlier(ownValues, blobs);
  const artifacts = await openFileArtifacts({ directory: folder.artifacts, blobs, clock });
  const runtimes = createRuntimes(folder.tools, log, sandbox);

  const openwhisk = createOpenWhisk({
    records,
    blobs,
    clock,
    log,
    identify,
    limits: configuration.openwhisk.limits,
    version: ownVersion(),
    requestTimeoutMs,
  });
  const payloadSecretFile = join(options.configDirectory, "openfaas-payload-secret");
  const payloadSecret = keptSecret(payloadSecretFile, () => randomBytes(32).toString("hex"));
  const openfaas = createOpenFaas({
    records,
    blobs,
    values,
    queue,
    sandbox,
    clock,
    log,
    identify,
    version: ownVersion(),
    requestTimeoutMs,
    defaultMax: configuration.openfaas.scaling.max,
    cacheDirectory: folder.tools,
    builds: {
      workDirectory: join(folder.data, "builds"),
      cacheDirectory: join(folder.cache, "openfaas"),
      key: openBuildKey(join(options.configDirectory, "openfaas-build-key")),
      toolchain: ({ name }: { readonly name: string }) =>
        runtimes.get(baseImageRuntimes[name] ?? "")?.toolchain?.() ??
        Promise.resolve({ path: [], mounts: [], environment: {} }),
      secrets: () => Promise.resolve([payloadSecret]),
      timeoutMs: configuration.builds.timeoutSeconds * 1000,
      maxBytes: configuration.builds.maxMb * 2 ** 20,
    },
  });
  const functions = createFunctions({ records, clock, log, provide: (id) => openwhisk.provide(id) });
  const maxAgeMs = configuration.retention.maxAgeDays * 86_400_000;
  const invocations = createHistory({
    journal,
    clock,
    log,
    retention: { maxPerNamespace: configuration.retention.maxPerNamespace, maxAgeMs },
  });
  opened.push(() => invocations.close());
  const usage = await createUsage({
    records,
    journal,
    history: ledgerSource(invocations, options.metering),
    clock,
    log,
  });
  opened.push(() => usage.close());
  const secrets = await createSecrets({ records, keyFile: join(folder.data, "secrets.key"), clock, log });
  const routes = await createRoutes({ records, functions });
  const access = await createAccess({
    records,
    clock,
    chance,
    belongings: [
      secrets,
      routes,
      invocations,
      usage,
      { forget: (namespace) => events.forget(namespace) },
      { forget: (namespace) => workflows.forget(namespace) },
      { forget: (namespace) => whisk.forget(namespace) },
      { forget: (namespace) => faas.forget(namespace) },
    ],
  });

  const metrics = createMetrics({ queueDepth: () => dispatcher.depth() });
  const history = meterHistory(invocations, metrics, options.metering);
  const pool: Pool = createPool({
    runtimes,
    sandbox,
    artifacts,
    secrets,
    functions,
    history,
    clock,
    log,
    identify,
    budget: configuration.budget,
    prewarm: await possiblePrewarm(configuration, runtimes),
    callFunction: (parent, request) => invoker.callFunction(parent, request),
  });
  opened.push(() => pool.drain(0));
  const invoker: EngineInvoker = createInvoker({
    functions,
    pool,
    history,
    clock,
    chance,
    identify,
    log,
    adapters: { openwhisk: openwhisk.adapter },
  });
  const dispatcher = createDispatcher({
    queue,
    records,
    values,
    invoker,
    functions,
    history,
    clock,
    chance,
    identify,
    log,
    concurrency: configuration.asyncConcurrency,
    onSettled(record) {
      const both = [workflows.settled(record), openfaas.settled(record)].filter((one) => one !== undefined);
      return both.length < 2 ? both[0] : Promise.all(both).then(() => undefined);
    },
  });
  const workflows: EngineWorkflows = createWorkflows({
    journal,
    records,
    queue,
    values,
    dispatcher,
    clock,
    identify,
    log,
    retentionMs: maxAgeMs,
    protocols: { openwhisk: openwhisk.protocol },
    onEnded: (run) => openwhisk.runEnded(run),
  });
  async function* namedValues(): AsyncGenerator<string> {
    yield* invocations.namedValues();
    yield* workflows.namedValues();
  }
  const events: EventsEngine = createEvents({
    records,
    journal,
    dispatcher,
    functions,
    workflows,
    onPublished: (namespace, topic, published) => openwhisk.eventsPublished(namespace, topic, published),
    clock,
    identify,
    log,
  });
  const deployer = createDeployer({
    functions,
    secrets,
    artifacts,
    blobs,
    records,
    runtimes,
    sandbox,
    verify: (revision, signal, onLog) => pool.verify(revision, signal, onLog),
    running: () => pool.artifacts(),
    async *named() {
      yield* openwhisk.namedCode();
      yield* openfaas.namedCode();
    },
    clock,
    log,
    cacheDirectory: folder.cache,
    limits: {
      timeoutMs: configuration.builds.timeoutSeconds * 1000,
      maxBytes: configuration.builds.maxMb * 2 ** 20,
      maxFiles: configuration.builds.maxFiles,
    },
  });

  const engine: Engine = {
    functions,
    deployer,
    invoker,
    dispatcher,
    pool,
    history,
    usage,
    secrets,
    routes,
    access,
    events,
    workflows,
  };
  const whisk = await openwhisk.open(engine);
  opened.push(() => whisk.close());
  const faas = await openfaas.open(engine, {
    engine,
    clock,
    log,
    metrics,
    identify,
    random: Math.random,
    requestTimeoutMs,
    trustForwarded: configuration.trustForwarded,
  });
  opened.push(() => faas.close(0));
  const gateway = createGateway({
    engine,
    endpoints: userEndpoints(whisk.subjects),
    blobs,
    values,
    log,
    clock,
    identify,
    metrics,
    probe: async () => void (await records.put("probe", { at: clock.now() })),
    config: {
      domain: configuration.domain,
      rates: configuration.rates,
      maxHeaderBytes,
      requestTimeoutMs,
      trustForwarded: configuration.trustForwarded,
      info: { name: "virga", version: ownVersion(), node: process.versions.node, sandbox: sandbox.name, startedAt },
    },
  });

  const adminToken = await administratorToken(access, options.configDirectory);
  const listener = await gateway.listen({ host: options.host, port: options.port });
  opened.push(() => listener.close(0));
  const url = urlOf(listener);
  const tokenFile = writeCredentials(options.configDirectory, { url, token: adminToken });
  const dialects: OpenDialect[] = [];
  const dialectListeners: Listener[] = [];
  opened.push(() => Promise.all(dialectListeners.map((one) => one.close(0))));
  const listenerOptions = { host: options.host, clock, maxHeaderBytes, requestTimeoutMs };
  async function serve(name: string, wanted: number | undefined, port: number, handle: Gateway["handle"]) {
    try {
      const listening = await openListener({ ...listenerOptions, port: wanted ?? port, handle });
      dialectListeners.push(listening);
      return urlOf(listening);
    } catch (thrown) {
      // The platform is there without it; only a port that was asked for by name is a reason not to start.
      if (wanted !== undefined) throw thrown;
      dialects.push({ name, problem: (thrown as Error).message });
      log.warn(`${name}'s clients are not served`, { error: thrown });
      return undefined;
    }
  }
  if (configuration.openwhisk.enabled) {
    const { port, user } = configuration.openwhisk;
    const served = await serve("OpenWhisk", options.openwhiskPort, port, (...pair) => whisk.handle(...pair));
    if (served !== undefined) {
      whisk.servedAt(served);
      dialects.push({ name: "OpenWhisk", url: served, credential: await whisk.subjects.ensure(user) });
    }
  }
  if (configuration.openfaas.enabled) {
    const handle: Gateway["handle"] = (...pair) => faas.handle(...pair);
    const served = await serve("OpenFaaS", options.openfaasPort, configuration.openfaas.port, handle);
    if (served !== undefined) {
      const path = join(sockets.folder, gatewaySocket);
      try {
        rmSync(path, { force: true });
        dialectListeners.push(await openListener({ ...listenerOptions, port: 0, path, handle }));
      } catch (error) {
        log.warn("OpenFaaS's functions do not reach their gateway at `gateway:8080`", { error });
      }
      faas.servedAt(served);
      const password = join(options.configDirectory, "openfaas-password");
      writeFileSync(password, adminToken, { mode: 0o600 });
      dialects.push({ name: "OpenFaaS", url: served, files: { password, payloadSecret: payloadSecretFile } });
    }
  }
  dispatcher.start();
  events.start();
  void workflows.open();
  keepMinimum(engine, pool, log);
  const sweeper = startSweeper({
    sweeps: {
      "old invocation records": () => invocations.sweep(),
      "old workflow runs": () => workflows.sweep(),
      // Behind those that name them.
      "values that nothing names": () => sweepValues({ values: ownValues, named: namedValues, clock, log }),
      "code that nothing uses": () => deployer.sweep(),
    },
    clock,
    log,
  });
  log.info("ready", { url, sandbox: sandbox.name, readyMs: Math.round(clock.now() - startedAt) });

  return {
    url,
    tokenFile,
    adminToken,
    sandbox,
    engine,
    dialects,
    async close() {
      whisk.close();
      const listeners = [listener, ...dialectListeners].map((one) => one.close(drainMs));
      await Promise.all([
        ...listeners,
        faas.close(drainMs),
        events.stop(),
        workflows.close(),
        dispatcher.stop(drainMs),
      ]);
      await invoker.drain(drainMs);
      await sweeper.stop();
      await sandbox.close();
      await invocations.close();
      await usage.close();
      store.close();
      sockets.remove();
    },
  };
}

/** What this host promises, for `virga doctor`: the sandbox's promises tried, the runtimes' versions found. */
export async function runDoctor(options: { dataDirectory: string; sandbox: SandboxChoice }): Promise<{
  sandbox: string;
  promises: ReturnType<typeof probePromises>;
  runtimes: { name: string; versions: readonly string[]; fix?: string }[];
  close(): Promise<void>;
}> {
  const log = createLog({ level: "error", pretty: true });
  const folder = prepareFolders(join(options.dataDirectory, "doctor"));
  const sandbox = await createSandbox({ choice: options.sandbox, stateDirectory: folder.instances, log });
  const runtimes = await Promise.all(
    [...createRuntimes(folder.tools, log, sandbox).values()].map(async (runtime) => {
      try {
        return { name: runtime.name, versions: await runtime.versions() };
      } catch (error) {
        return {
          name: runtime.name,
          versions: [],
          fix: error instanceof VirgaError ? (error.detail.fix ?? error.message) : String(error),
        };
      }
    }),
  );
  return { sandbox: sandbox.name, promises: probePromises(sandbox), runtimes, close: () => sandbox.close() };
}

function urlOf({ host, port }: Listener): string {
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function createRuntimes(toolsDirectory: string, log: Log, { processors }: Sandbox): ReadonlyMap<string, Runtime> {
  const runtimes = [
    createNodeRuntime({ toolsDirectory, log, processors }),
    createPythonRuntime({ toolsDirectory, log }),
    createBinaryRuntime({ toolsDirectory, log }),
    createGoRuntime(),
    createJavaRuntime({ toolsDirectory }),
    createPhpRuntime(),
    createRubyRuntime(),
    createRustRuntime({ toolsDirectory }),
  ];
  return new Map(runtimes.map((runtime) => [runtime.name, runtime]));
}

/** Runtimes whose toolchains stand for what base images of these names bring. */
const baseImageRuntimes: Readonly<Record<string, string>> = {
  node: "node",
  golang: "go",
  rust: "rust",
};

/** For sockets that functions reach. The path of a socket has 107 bytes at most. */
function socketFolder(data: string): { folder: string; remove(): void } {
  const folder = join(data, "sockets");
  if (folder.length <= 80) {
    mkdirSync(folder, { recursive: true });
    chmodSync(folder, 0o711);
    return { folder, remove: () => undefined };
  }
  const made = mkdtempSync(join(tmpdir(), "virga-"));
  chmodSync(made, 0o711);
  return { folder: made, remove: () => rmSync(made, { recursive: true, force: true }) };
}

/** The data folder's rooms. Instances' users must be able to pass through to code and tools, and to see nothing else. */
function prepareFolders(
  data: string,
): Record<"data" | "blobs" | "values" | "artifacts" | "instances" | "tools" | "cache", string> {
  const folder = {
    data,
    blobs: join(data, "blobs"),
    values: join(data, "values"),
    artifacts: join(data, "artifacts"),
    instances: join(data, "instances"),
    tools: join(data, "tools"),
    cache: join(data, "build-cache"),
  };
  const modes = {
    data: 0o711,
    blobs: 0o700,
    values: 0o700,
    artifacts: 0o711,
    instances: 0o711,
    tools: 0o755,
    cache: 0o711,
  };
  for (const name of Object.keys(modes) as (keyof typeof modes)[]) {
    try {
      mkdirSync(folder[name], { recursive: true });
      chmodSync(folder[name], modes[name]);
    } catch (error) {
      throw new VirgaError(
        "unavailable",
        `the data folder ${folder[name]} cannot be made: ${(error as Error).message}`,
        { cause: error, fix: "Give a folder that you may write with --data." },
      );
    }
  }
  return folder;
}

/** Large results and values of workflows, with those that were kept among the code before they had a folder of their own. */
function withEarlier(values: Blobs, blobs: Pick<Blobs, "get" | "has">): Pick<Blobs, "put" | "get" | "has"> {
  return {
    put: (content, options) => values.put(content, options),
    has: async (digest) => (await values.has(digest)) || blobs.has(digest),
    async get(digest) {
      try {
        return await values.get(digest);
      } catch (error) {
        if (error instanceof VirgaError && error.code === "not_found") return blobs.get(digest);
        throw error;
      }
    },
  };
}

/** Without a runtime's program on this host there is nothing to prewarm. */
async function possiblePrewarm(
  configuration: Configuration,
  runtimes: ReadonlyMap<string, Runtime>,
): Promise<Configuration["prewarm"]> {
  const possible = await Promise.all(
    configuration.prewarm.map(async ({ runtime }) => {
      const found = runtimes.get(runtime.split(":")[0] ?? runtime);
      const versions = await found?.versions().catch(() => []);
      return found?.prewarm === true && (versions?.length ?? 0) > 0;
    }),
  );
  return configuration.prewarm.filter((_, index) => possible[index]);
}

/** Brings functions with a minimum of instances up to it, behind the start. */
function keepMinimum(engine: Engine, pool: Pool, log: Log): void {
  const page = 200;
  const walk = async (): Promise<void> => {
    for (const { name: namespace } of await engine.access.namespaces())
      for (let after: string | undefined; ;) {
        const states = await engine.functions.list(namespace, { limit: page, ...(after !== undefined && { after }) });
        for (const state of states) await pool.reconcile(state, state);
        after = states.at(-1)?.name;
        if (states.length < page) break;
      }
  };
  walk().catch((error: unknown) =>
    log.error("functions could not be brought to their minimum of instances", { error }),
  );
}

/** The token of the last start where it is still good, else a new one. */
async function administratorToken(access: Access, configDirectory: string): Promise<string> {
  const saved = readCredentials(configDirectory);
  if (saved !== undefined && access.authenticate(saved.token)?.namespaces === "*") return saved.token;
  const { secret } = await access.createToken({
    description: "administrator, made at the first start",
    namespaces: "*",
    role: "admin",
  });
  return secret;
}

function readCredentials(configDirectory: string): { url: string; token: string } | undefined {
  try {
    const found = JSON.parse(readFileSync(join(configDirectory, "credentials.json"), "utf8")) as {
      url?: unknown;
      token?: unknown;
    };
    return typeof found.token === "string" ? { url: String(found.url), token: found.token } : undefined;
  } catch {
    // Absent or unreadable: a new token is made and the file written anew.
    return undefined;
  }
}

function writeCredentials(configDirectory: string, credentials: { url: string; token: string }): string {
  mkdirSync(configDirectory, { recursive: true, mode: 0o700 });
  const file = join(configDirectory, "credentials.json");
  const aside = `${file}.${process.pid}`;
  writeFileSync(aside, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 });
  renameSync(aside, file);
  return file;
}

function readLevel(text: string): LogOptions["level"] {
  if (text === "debug" || text === "info" || text === "warn" || text === "error" || text === "silent") return text;
  throw new VirgaError("bad_request", `there is no log level ${text}`, {
    field: "log-level",
    fix: "Use debug, info, warn, error or silent.",
  });
}

function ownVersion(): string {
  return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;
}
