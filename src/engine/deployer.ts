import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { VirgaError } from "../core/errors.ts";
import type { BuildSummary, FunctionConfig, FunctionState, Revision } from "../core/model.ts";
import { checkName, checkResourceName, quote } from "../core/names.ts";
import { createTurns } from "../core/turns.ts";
import type { Artifacts } from "../ports/artifacts.ts";
import type { Blobs } from "../ports/blobs.ts";
import type { Clock } from "../ports/clock.ts";
import type { Log } from "../ports/log.ts";
import type { Records } from "../ports/records.ts";
import type { Runtime } from "../ports/runtime.ts";
import type { Sandbox } from "../ports/sandbox.ts";
import { sizeOfTree } from "../trees/size.ts";
import { differences } from "./deploy-plan.ts";
import { examine, type Findings, runtimeNamed, settleCode } from "./detection.ts";
import type {
  Deployer,
  DeployEvent,
  DeployRequest,
  DeployResult,
  FunctionSettings,
  PlannedChange,
  Secrets,
} from "./engine.ts";
import { everyRecord } from "./every-record.ts";
import type { Registry } from "./functions.ts";
import { checkSettings, completeSettings } from "./settings.ts";

export interface DeployerOptions {
  readonly functions: Registry;
  readonly secrets: Pick<Secrets, "list">;
  readonly artifacts: Artifacts;
  readonly blobs: Blobs;
  readonly records: Records;
  readonly runtimes: ReadonlyMap<string, Runtime>;
  readonly sandbox: Sandbox;
  /** Starts the revision for a trial before it gets traffic; rejects where it does not start. */
  readonly verify: (revision: Revision, signal: AbortSignal, onLog: (line: string) => void) => Promise<void>;
  /** Artifacts that instances run from; a deleted function's last call may still read its code. */
  readonly running: () => ReadonlySet<string>;
  /** Digests of sources that others than revisions name. */
  readonly named: () => AsyncIterable<string>;
  readonly clock: Clock;
  readonly log: Log;
  /** Package caches of builds, a folder for each namespace. */
  readonly cacheDirectory: string;
  readonly limits: {
    /** Of one build. */
    readonly timeoutMs: number;
    /** The size of a source with its layers, unpacked, and of an artifact. */
    readonly maxBytes: number;
    readonly maxFiles: number;
    /** Builds at the same time; more wait. */
    readonly builds?: number;
  };
}

/** Builds code into revisions. */
export function createDeployer(options: DeployerOptions): Deployer {
  return new BuildingDeployer(options);
}

/** `builds/KEY`: what an earlier build of the same input came to. */
interface KnownBuild {
  readonly artifact: string;
  readonly builtAt: number;
}

/** `sources/DIGEST`: a blob that is code, which the sweep may remove; other blobs are not the deployer's. */
const knownSource = {};

/** Sources, artifacts and builds that no revision uses are kept this long: the next deploy may use them again. */
const spareMs = 3_600_000;
const rememberedFindings = 500;
/** Each is unpacked, and its folder walked, at every build. */
const mostLayers = 16;
/** A build may use two cores and 2 GiB. */
const defaultBuilds = 2;

/** A deploy on its way: what it must give back in the end. */
interface Job {
  readonly request: DeployRequest;
  readonly onEvent: (event: DeployEvent) => void;
  readonly signal: AbortSignal;
  /** The unpacked source, once somebody needed it. */
  directory: string | undefined;
}

class BuildingDeployer implements Deployer {
  readonly #options: DeployerOptions;
  readonly #turn = createTurns();
  readonly #places: Places;
  readonly #findings = new Map<string, Findings>();
  /** Digests that deploys on their way rely on, with how many do; a sweep spares them. */
  readonly #held = new Map<string, number>();
  #sparing: Set<string> | undefined;

  constructor(options: DeployerOptions) {
    this.#options = options;
    this.#places = new Places(options.limits.builds ?? defaultBuilds);
  }

  async deploy(
    request: DeployRequest,
    onEvent: (event: DeployEvent) => void,
    signal: AbortSignal,
  ): Promise<DeployResult> {
    const settings = checkRequest(request);
    return this.#turn(`${request.namespace}/${request.name}`, async () => {
      const job: Job = { request, onEvent, signal, directory: undefined };
      const held: string[] = [];
      try {
        return await this.#run(job, settings, held);
      } catch (error) {
        // Whatever was cut off in the middle, the reason is that the caller left.
        if (signal.aborted) throw new VirgaError("cancelled", "the deploy was cancelled", { cause: error });
        throw error;
      } finally {
        for (const digest of held) this.#release(digest);
        if (job.directory !== undefined) await this.#options.artifacts.discard(job.directory);
      }
    });
  }

  async plan(request: DeployRequest): Promise<PlannedChange[]> {
    const settings = checkRequest(request);
    const { functions, runtimes, blobs } = this.#options;
    const state = await functions.get(request);
    const newest = state && (await functions.revision(request, state.latestRevision));
    await this.#checkSecrets(request.namespace, settings);
    const source = sourceOf(request, newest);
    const job: Job = { request, onEvent: () => {}, signal: new AbortController().signal, directory: undefined };
    const changes: PlannedChange[] = newest === undefined ? [{ field: "function", to: request.name }] : [];
    try {
      // The source is often planned with before it is uploaded; what would be detected then is left as it was.
      const layers = layersOf(request, newest);
      const seen = await blobs.has(source);
      const code = seen ? await settleCode(settings, runtimes, () => this.#find(job, source, layers)) : undefined;
      if (code === undefined && settings.runtime !== undefined) await runtimeNamed(settings.runtime, runtimes);
      const before: Partial<FunctionConfig> = newest?.config ?? completeSettings({}, unknownCode);
      const after = completeSettings(settings, code ?? newest?.config ?? unknownCode);
      for (const { field, from, to } of differences(before, after)) {
        if (to !== unknownCode.runtime)
          changes.push(changeOf(field, from === unknownCode.runtime ? undefined : from, to));
      }
    } finally {
      if (job.directory !== undefined) await this.#options.artifacts.discard(job.directory);
    }
    if (newest?.source !== source) changes.push(changeOf("source", newest?.source, source));
    if (request.traffic === "latest" && state?.followLatest === false) {
      changes.push({ field: "followLatest", from: false, to: true });
    }
    if (request.tag !== undefined) {
      const tagged = state?.traffic.find(({ tag }) => tag === request.tag)?.revision;
      const next = changes.length > 0 ? await functions.nextNumber(request) : newest?.number;
      if (tagged !== next) changes.push(changeOf(`tag ${request.tag}`, tagged, next));
    }
    return changes;
  }

  async adopt(source: string): Promise<void> {
    const { records } = this.#options;
    const key = `sources/${source}`;
    if ((await records.get(key)) === undefined) await records.put(key, knownSource);
  }

  async sweep(): Promise<void> {
    const { artifacts, blobs, clock, functions, records, running, named, log } = this.#options;
    // From here on, what a deploy takes hold of is spared, too: it may do so behind the page that was read.
    const used = new Set(this.#held.keys());
    this.#sparing = used;
    try {
      for await (const revision of functions.everyRevision()) {
        used.add(revision.source);
        for (const layer of revision.layers ?? []) used.add(layer);
        used.add(revision.artifact);
      }
      for (const artifact of running()) used.add(artifact);
      for await (const source of named()) used.add(source);
      const oldest = clock.now() - spareMs;
      for await (const { key, value } of everyRecord<KnownBuild>(records, "builds/")) {
        if (!used.has(value.artifact) && value.builtAt < oldest) await records.delete(key);
      }
      const removed = await artifacts.sweep(used, spareMs);
      let sources = 0;
      for await (const { key } of everyRecord(records, "sources/")) {
        const digest = key.slice("sources/".length);
        // `used` names artifacts, too: an upload may be the same bytes as one's blob.
        if (used.has(digest) || !(await blobs.delete(digest, { unusedSince: oldest }))) continue;
        // Behind the blob: one that nobody knows of would stay for ever.
        await records.delete(key);
        sources++;
      }
      if (removed + sources > 0) log.info("removed code that nothing uses", { artifacts: removed, sources });
    } finally {
      this.#sparing = undefined;
    }
  }

  async #run(job: Job, settings: FunctionSettings, held: string[]): Promise<DeployResult> {
    const { request, onEvent, signal } = job;
    const { functions, runtimes, artifacts } = this.#options;
    checkAborted(signal);
    const state = await functions.get(request);
    const newest = state && (await functions.revision(request, state.latestRevision));
    await this.#checkSecrets(request.namespace, settings);
    const source = sourceOf(request, newest);
    this.#hold(source, held);
    await this.#noteSource(source, "source");
    const layers = layersOf(request, newest);
    for (const [index, layer] of layers.entries()) {
      this.#hold(layer, held);
      await this.#noteSource(layer, `layers.${index}`);
    }
    const config = completeSettings(
      settings,
      await settleCode(settings, runtimes, () => this.#find(job, source, layers)),
    );
    checkAborted(signal);

    if (
      newest?.source === source &&
      isDeepStrictEqual(newest.layers ?? [], layers) &&
      isDeepStrictEqual(newest.config, config)
    ) {
      this.#hold(newest.artifact, held);
      if (await isThere(artifacts, newest.artifact)) return this.#unchanged(request, state!, newest);
    }

    const started = this.#options.clock.monotonic();
    const { artifact, cached } = await this.#build(job, { source, layers }, config, held);
    const info = await artifacts.info(artifact);
    const build: BuildSummary = {
      cached,
      durationMs: Math.round(this.#options.clock.monotonic() - started),
      sizeBytes: info.sizeBytes,
      fileCount: info.fileCount,
    };
    checkAborted(signal);

    const createdAt = this.#options.clock.now();
    const number = await functions.nextNumber(request);
    const { namespace, name } = request;
    const content = { config, source, ...(layers.length === 0 ? {} : { layers }), artifact, createdAt, build };
    if (request.trial !== false) {
      onEvent({ kind: "stage", stage: "start", detail: `revision ${number}` });
      await this.#options.verify({ namespace, name, number, ...content }, signal, (line) =>
        onEvent({ kind: "log", line }),
      );
      checkAborted(signal);
    }

    const revision = await functions.addRevision(request, content, {
      number,
      ...chosen(request),
    });
    const after = await functions.get(request);
    if (after === undefined)
      throw new VirgaError("conflict", `${name} was deleted during its deploy`, { fix: "deploy again" });
    onEvent({ kind: "stage", stage: "traffic", detail: trafficDetail(after, revision.number) });
    return { function: after, revision, changed: true };
  }

  /** The newest revision is what was asked for; at most its traffic or tag moves. */
  async #unchanged(request: DeployRequest, state: FunctionState, newest: Revision): Promise<DeployResult> {
    const takes = state.followLatest && state.traffic.every((to) => to.weight === 0 || to.revision === newest.number);
    const tagged = state.traffic.some((to) => to.revision === newest.number && to.tag === request.tag);
    const moves = (request.traffic === "latest" && !takes) || (request.tag !== undefined && !tagged);
    if (!moves) return { function: state, revision: newest, changed: false };
    const after = await this.#options.functions.point(request, newest.number, {
      // What stands in `traffic` stays there, unless it was asked to move.
      traffic: "keep",
      ...chosen(request),
    });
    return { function: after, revision: newest, changed: true };
  }

  async #build(
    job: Job,
    { source, layers }: { source: string; layers: readonly string[] },
    config: FunctionConfig,
    held: string[],
  ): Promise<{ artifact: string; cached: boolean }> {
    const { artifacts, records, runtimes, sandbox, clock, limits, cacheDirectory } = this.#options;
    const { onEvent, signal, request } = job;
    const runtime = await runtimeNamed(config.runtime, runtimes);
    const key = `builds/${buildKey([source, ...layers], config, await runtime.fingerprint(config))}`;
    const known = (await records.get<KnownBuild>(key))?.value;
    if (known !== undefined) {
      this.#hold(known.artifact, held);
      if (await isThere(artifacts, known.artifact)) {
        onEvent({ kind: "stage", stage: "build", detail: "unchanged, an earlier build is used" });
        return { artifact: known.artifact, cached: true };
      }
    }
    return this.#places.within(async () => {
      checkAborted(signal);
      const directory = await this.#unpack(job, source, layers);
      const cache = join(cacheDirectory, request.namespace);
      await mkdir(cache, { recursive: true, mode: 0o711 });
      onEvent({ kind: "stage", stage: "build", detail: config.runtime });
      await runtime.build({
        directory,
        config,
        sandbox,
        cacheDirectory: cache,
        timeoutMs: limits.timeoutMs,
        maxBytes: limits.maxBytes,
        onLog: (line) => onEvent({ kind: "log", line }),
        signal,
      });
      checkAborted(signal);
      onEvent({ kind: "stage", stage: "seal" });
      const { digest } = await artifacts.seal(directory);
      job.directory = undefined;
      this.#hold(digest, held);
      await records.put(key, { artifact: digest, builtAt: clock.now() } satisfies KnownBuild);
      return { artifact: digest, cached: false };
    });
  }

  /** What the runtimes say of a source: looked up once for each source and run of the platform. */
  async #find(job: Job, source: string, layers: readonly string[]): Promise<Findings> {
    const code = [source, ...layers].join("+");
    const known = this.#findings.get(code);
    if (known !== undefined) return known;
    const directory = await this.#unpack(job, source, layers);
    job.onEvent({ kind: "stage", stage: "detect" });
    const findings = await examine(directory, this.#options.runtimes);
    if (this.#findings.size >= rememberedFindings) {
      const [oldest] = this.#findings.keys();
      if (oldest !== undefined) this.#findings.delete(oldest);
    }
    this.#findings.set(code, findings);
    return findings;
  }

  async #unpack(job: Job, source: string, layers: readonly string[]): Promise<string> {
    if (job.directory !== undefined) return job.directory;
    const { artifacts, limits } = this.#options;
    job.onEvent({ kind: "stage", stage: "unpack" });
    job.directory = await artifacts.unpack(source, { maxBytes: limits.maxBytes, maxFiles: limits.maxFiles });
    for (const [index, layer] of layers.entries()) await this.#lay(layer, job.directory, `layers.${index}`);
    return job.directory;
  }

  /** What is there counts with what is laid over it. */
  async #lay(layer: string, directory: string, field: string): Promise<void> {
    const { artifacts, limits } = this.#options;
    const { bytes, entries } = await sizeOfTree(directory);
    const left = { maxBytes: limits.maxBytes - bytes, maxFiles: limits.maxFiles - entries };
    try {
      await artifacts.lay(layer, directory, left);
    } catch (thrown) {
      if (!(thrown instanceof VirgaError)) throw thrown;
      const { code, message, detail } = thrown;
      if (code === "archive_too_large") {
        throw new VirgaError(
          code,
          `the source and its layers unpack to more than ${limits.maxBytes} bytes or ${limits.maxFiles} files and folders`,
          { ...detail, field, cause: thrown },
        );
      }
      throw code === "invalid_archive" ? new VirgaError(code, message, { ...detail, field, cause: thrown }) : thrown;
    }
  }

  async #checkSecrets(namespace: string, settings: FunctionSettings): Promise<void> {
    if (settings.secrets === undefined || settings.secrets.length === 0) return;
    const known = new Set((await this.#options.secrets.list(namespace)).map(({ name }) => name));
    for (const [index, name] of settings.secrets.entries()) {
      if (known.has(name)) continue;
      throw new VirgaError("invalid_field", `namespace ${namespace} has no secret ${name}`, {
        field: `settings.secrets.${index}`,
        fix: `set it first: virga secret set ${name}`,
      });
    }
  }

  async #noteSource(source: string, field: string): Promise<void> {
    if (!(await this.#options.blobs.has(source))) {
      throw new VirgaError("not_found", `the source ${source} has not been uploaded`, {
        field,
        fix: "upload the archive first: PUT /v1/namespaces/NAMESPACE/sources/SHA256",
      });
    }
    await this.adopt(source);
  }

  #hold(digest: string, held: string[]): void {
    held.push(digest);
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    this.#sparing?.add(digest);
  }

  #release(digest: string): void {
    const holders = this.#held.get(digest)! - 1;
    if (holders === 0) this.#held.delete(digest);
    else this.#held.set(digest, holders);
  }
}

/** At most so many at a time; the others wait in line. */
class Places {
  #free: number;
  readonly #line: (() => void)[] = [];

  constructor(places: number) {
    this.#free = Math.max(1, places);
  }

  async within<T>(action: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return await action();
    } finally {
      const next = this.#line.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

/** Stands for what detection has not looked at; no runtime, handler or convention can be called so. */
const unknownCode = { runtime: "?", handler: "?", convention: "?" };

function checkRequest(request: DeployRequest): FunctionSettings {
  checkName(request.namespace, "namespace", "namespace");
  checkResourceName(request.name, "name", "function");
  if (request.tag !== undefined) checkName(request.tag, "tag", "tag");
  if (request.source !== undefined) checkDigest(request.source, "source");
  const { layers = [] } = request;
  if (layers.length > mostLayers) {
    throw new VirgaError("invalid_field", `a source has at most ${mostLayers} layers, and not ${layers.length}`, {
      field: "layers",
      fix: "pack several of them into one archive",
    });
  }
  for (const [index, layer] of layers.entries()) checkDigest(layer, `layers.${index}`);
  return checkSettings(request.settings);
}

function checkDigest(digest: string, field: string): void {
  if (/^[0-9a-f]{64}$/.test(digest)) return;
  throw new VirgaError("invalid_field", `${quote(digest)} is no digest of a source`, {
    field,
    fix: "give the SHA-256 of the uploaded archive as 64 hexadecimal digits in lower case",
  });
}

function sourceOf(request: DeployRequest, newest: Revision | undefined): string {
  const source = request.source ?? newest?.source;
  if (source !== undefined) return source;
  throw new VirgaError("invalid_field", `${request.name} has no code yet`, {
    field: "source",
    fix: "upload an archive of the code and give its SHA-256",
  });
}

function layersOf({ source, layers }: DeployRequest, newest: Revision | undefined): readonly string[] {
  return layers ?? (source === undefined ? newest?.layers : undefined) ?? [];
}

/** The parts of a request that the registry knows. */
function chosen({ tag, traffic }: DeployRequest): { tag?: string; traffic?: "latest" | "keep" } {
  return { ...(tag === undefined ? {} : { tag }), ...(traffic === undefined ? {} : { traffic }) };
}

/** Settings that matter to a build beside its source: which runtime builds, what it checks, what it makes. */
function buildKey(
  code: readonly string[],
  { runtime, handler, convention, bundle }: FunctionConfig,
  fingerprint: string,
): string {
  return createHash("sha256")
    .update(
      JSON.stringify([...code, runtime, handler, convention, ...(bundle === true ? ["bundle"] : []), fingerprint]),
    )
    .digest("hex");
}

async function isThere(artifacts: Artifacts, digest: string): Promise<boolean> {
  try {
    await artifacts.info(digest);
    return true;
  } catch (error) {
    if (error instanceof VirgaError && error.code === "not_found") return false;
    throw error;
  }
}

function changeOf(field: string, from: unknown, to: unknown): PlannedChange {
  return { field, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
}

function trafficDetail(state: FunctionState, number: number): string {
  const share = state.traffic.reduce((sum, to) => sum + (to.revision === number ? to.weight : 0), 0);
  if (share > 0) return `revision ${number} takes ${share} %`;
  return `revision ${number} gets no traffic; move it by: virga traffic ${state.name}`;
}

function checkAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new VirgaError("cancelled", "the deploy was cancelled");
}
