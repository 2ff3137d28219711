import { type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import { dirname, isAbsolute, join, relative, sep } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { asVirgaError, VirgaError } from "../core/errors.ts";
import type { FollowedLine } from "./api.ts";
import { Client } from "./client.ts";
import { codeFrame, parseLocation } from "./code-frame.ts";
import type { Context } from "./command.ts";
import { findCredentials } from "./credentials.ts";
import { DeployReport } from "./deploy-report.ts";
import {
  changedEvents,
  putEventObject,
  deployFunction,
  functionPath,
  functionUrl,
  putRoute,
  changedRoutes,
  requireSecrets,
} from "./deployment.ts";
import { errorLines } from "./error-text.ts";
import { logLine } from "./log-line.ts";
import { ignoreRulesOf, packSource } from "./pack.ts";
import { type PlatformChoices, type RunningPlatform, startPlatform } from "./platform.ts";
import { loadProject, type Project, type ProjectFunction } from "./project.ts";
import { formatDuration } from "./units.ts";

/** An editor's save is several events within a few milliseconds; this is long enough to see them as one. */
const debounceMs = 20;

/** Until a stream of logs that broke is opened again. */
const reconnectMs = 500;

interface DevOptions {
  readonly name?: string | undefined;
  readonly sandbox?: PlatformChoices["sandbox"];
}

/** Watches a project, deploys what changed, and shows what its functions write. */
export class DevSession {
  readonly #context: Context;
  readonly #path: string;
  readonly #options: DevOptions;
  readonly #client: Client;
  /** Started by this session because none ran. */
  readonly #platform: RunningPlatform | undefined;
  readonly #followed = new Map<string, AbortController>();
  readonly #watchers: FSWatcher[] = [];
  readonly #changed = new Set<string>();
  #project: Project;
  #timer: NodeJS.Timeout | undefined;
  #deploying: AbortController | undefined;
  #turn: Promise<void> = Promise.resolve();

  static async open(context: Context, path: string, options: DevOptions): Promise<DevSession> {
    const project = loadProject(path, { name: options.name, from: context.terminal.directory });
    const platform = await platformIfNoneRuns(context, options);
    const credentials =
      platform === undefined
        ? findCredentials(context.server, context.terminal.environment)
        : { url: platform.url, token: platform.adminToken };
    return new DevSession(context, path, options, project, new Client(credentials), platform);
  }

  private constructor(
    context: Context,
    path: string,
    options: DevOptions,
    project: Project,
    client: Client,
    platform: RunningPlatform | undefined,
  ) {
    this.#context = context;
    this.#path = path;
    this.#options = options;
    this.#project = project;
    this.#client = client;
    this.#platform = platform;
  }

  /** Until Ctrl-C. */
  async run(): Promise<void> {
    const { terminal, signal } = this.#context;
    signal.addEventListener("abort", () => this.#deploying?.abort(), { once: true });
    this.#watch();
    this.#turn = this.#deploy(this.#project.functions);
    await this.#turn;
    terminal.note(terminal.styleNote("dim", `watching ${relative(terminal.directory, this.#project.root) || "."}`));
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) watcher.close();
    for (const following of this.#followed.values()) following.abort();
    this.#deploying?.abort();
    await this.#turn;
    this.#client.close();
    await this.#platform?.close();
  }

  get #namespace(): string {
    const { namespace, namespaceGiven } = this.#context;
    return namespaceGiven ? namespace : (this.#project.namespace ?? namespace);
  }

  #watch(): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
    for (const root of watchedFolders(this.#project)) {
      const options = { recursive: true, ignore: (file: string) => neverWatched.test(file) };
      const watcher = watch(root, options, (_event, file) => {
        if (file === null || neverWatched.test(file)) return;
        this.#changed.add(join(root, file));
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#react(), debounceMs);
      });
      watcher.on("error", (error) => this.#complain(error));
      this.#watchers.push(watcher);
    }
  }

  #react(): void {
    const files = [...this.#changed];
    this.#changed.clear();
    // What is being deployed is out of date already.
    this.#deploying?.abort();
    this.#turn = this.#turn.then(() => this.#redeploy(files)).catch((error: unknown) => this.#complain(error));
  }

  async #redeploy(files: readonly string[]): Promise<void> {
    let concerned: readonly ProjectFunction[];
    if (files.some((file) => file === this.#project.manifest || isNewManifest(this.#project, file))) {
      this.#project = loadProject(this.#path, { name: this.#options.name, from: this.#context.terminal.directory });
      this.#watch();
      concerned = this.#project.functions;
    } else {
      concerned = await this.#concerned(files);
    }
    if (concerned.length > 0) await this.#deploy(concerned);
  }

  async #concerned(files: readonly string[]): Promise<ProjectFunction[]> {
    const found: ProjectFunction[] = [];
    for (const one of this.#project.functions) {
      if (files.includes(one.source)) found.push(one);
      else if (files.some((file) => isInside(one.source, file))) {
        const rules = await ignoreRulesOf(one.source);
        const counts = files.some((file) => isInside(one.source, file) && !isIgnored(rules, one.source, file));
        if (counts) found.push(one);
      }
    }
    return found;
  }

  async #deploy(functions: readonly ProjectFunction[]): Promise<void> {
    const deploying = new AbortController();
    this.#deploying = deploying;
    try {
      await requireSecrets(this.#client, this.#namespace, this.#project.secrets);
    } catch (error) {
      this.#complain(error);
      return;
    }
    for (const one of functions) {
      try {
        await this.#deployOne(one, deploying.signal);
      } catch (error) {
        if (deploying.signal.aborted || this.#context.signal.aborted) return;
        this.#complain(error, one);
      }
    }
    try {
      const routes = await changedRoutes(this.#client, this.#namespace, this.#project);
      for (const { wanted } of routes) await putRoute(this.#client, this.#namespace, wanted);
      const events = await changedEvents(this.#client, this.#namespace, this.#project);
      for (const { wanted } of events) await putEventObject(this.#client, this.#namespace, wanted);
    } catch (error) {
      this.#complain(error);
    }
  }

  async #deployOne(one: ProjectFunction, signal: AbortSignal): Promise<void> {
    const { terminal } = this.#context;
    const started = performance.now();
    const archive = await packSource(one.source);
    const report = new DeployReport(terminal, one.name);
    try {
      const result = await deployFunction(
        this.#client,
        this.#namespace,
        one,
        archive,
        { traffic: "latest" },
        report,
        signal,
      );
      report.end();
      if (result.changed || !this.#followed.has(one.name)) {
        const took = formatDuration(performance.now() - started);
        const url = this.#followed.has(one.name) ? "" : `  ${functionUrl(this.#client, this.#namespace, one.name)}`;
        const what = `${one.name} revision ${result.revision.number} serves (${took})${url}`;
        terminal.note(`${terminal.styleNote("green", "✓")} ${what}`);
      }
      this.#follow(one.name);
    } finally {
      report.end();
      await archive.discard();
    }
  }

  /** The reason, with the lines of the user's own file where the server named them. The last good revision goes on serving. */
  #complain(thrown: unknown, one?: ProjectFunction): void {
    const { terminal } = this.#context;
    const error = asVirgaError(thrown);
    for (const line of errorLines(error)) terminal.note(line.replace(/^error/, terminal.styleNote("red", "error")));
    const frame = one === undefined ? undefined : frameOf(one, error);
    if (frame !== undefined) terminal.note(frame);
    if (one !== undefined && this.#followed.has(one.name)) {
      terminal.note(terminal.styleNote("dim", `  the revision before goes on serving ${one.name}`));
    }
  }

  #follow(name: string): void {
    if (this.#followed.has(name)) return;
    const stop = new AbortController();
    this.#followed.set(name, stop);
    void this.#showLogs(name, stop.signal);
  }

  async #showLogs(name: string, signal: AbortSignal): Promise<void> {
    const { terminal } = this.#context;
    let since = Date.now();
    while (!signal.aborted) {
      try {
        const lines = this.#client.lines<FollowedLine | { kind?: string }>(
          "GET",
          `${functionPath(this.#namespace, name)}/logs`,
          { query: { follow: true, since }, signal },
        );
        for await (const line of lines) {
          if (!("text" in line)) continue;
          since = line.at + 1;
          const label = this.#project.functions.length > 1 ? name : undefined;
          await terminal.write(`${logLine(terminal, line, label)}\n`);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (asVirgaError(error).code === "not_found") {
          this.#followed.delete(name);
          return;
        }
      }
      await pause(reconnectMs, undefined, { ref: false });
    }
  }
}

/** Written by tools, by the thousand, and never part of a function's source. */
const neverWatched = /(?:^|[/\\])(?:node_modules|\.git|\.virga|__pycache__)(?:[/\\]|$)/;

function watchedFolders(project: Project): string[] {
  const roots = project.functions.map(({ source }) => (statSync(source).isFile() ? dirname(source) : source));
  if (project.manifest !== undefined) roots.push(dirname(project.manifest));
  const unique = [...new Set(roots)];
  return unique.filter((root) => !unique.some((other) => other !== root && isInside(other, root)));
}

function isNewManifest(project: Project, file: string): boolean {
  return project.manifest === undefined && /^virga\.ya?ml$/.test(relative(project.root, file));
}

function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== "" && path !== ".." && !path.startsWith(`..${sep}`) && !isAbsolute(path);
}

function isIgnored(
  rules: { ignores(path: string, isFolder: boolean): boolean },
  folder: string,
  file: string,
): boolean {
  const parts = relative(folder, file).split(sep);
  return parts.some((_part, index) => rules.ignores(parts.slice(0, index + 1).join("/"), index < parts.length - 1));
}

function frameOf(one: ProjectFunction, error: VirgaError): string | undefined {
  const place = error.detail.location === undefined ? undefined : parseLocation(error.detail.location);
  if (place === undefined || error.message.includes(" | ")) return undefined;
  const candidates = [join(one.source, place.file), join(dirname(one.source), place.file)];
  for (const file of candidates) {
    try {
      return codeFrame(readFileSync(file, "utf8"), place.line, place.column);
    } catch {
      // Not a file of this function: the message alone has to do.
    }
  }
  return undefined;
}

/** Undefined where a server answers, or where the user named one that has to. */
async function platformIfNoneRuns(context: Context, options: DevOptions): Promise<RunningPlatform | undefined> {
  const { terminal, server } = context;
  const { environment } = terminal;
  const named = server.url !== undefined || Boolean(environment["VIRGA_URL"]);
  const client = new Client(findCredentials(server, environment), context.signal);
  try {
    await client.get("/v1");
    return undefined;
  } catch (error) {
    if (named || !(error instanceof VirgaError) || error.code !== "unavailable") throw error;
  } finally {
    client.close();
  }
  terminal.note("no server runs: starting one for this session");
  return startPlatform({ sandbox: options.sandbox, logLevel: "error" }, environment);
}
